/** A page of a list: the rows on one side of a boundary between two positions. */
export interface PageBoundary {
  readonly direction: 'before' | 'after'
  /** 7 lies between the rows at 7 and at 8. */
  readonly boundary: number
  readonly limit: number
}

/** The comparison and order that find the rows nearest to the boundary, and whether they come reversed. */
export function keysetOrder({ direction }: Pick<PageBoundary, 'direction'>) {
  return direction === 'before'
    ? ({ comparison: '<=', order: 'desc', reversed: true } as const)
    : ({ comparison: '>', order: 'asc', reversed: false } as const)
}
