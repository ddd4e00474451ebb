/** Formats a Markdown table: text columns to the left, number columns to the right. */
export function markdownTable(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
): string[] {
  const isNumber = heads.map((_, column) =>
    rows.every((row) => /^[\d.,]* ?%?$/.test(row[column] ?? '')),
  )
  const widths = heads.map((head, column) =>
    Math.max(3, head.length, ...rows.map((row) => (row[column] ?? '').length)),
  )
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (isNumber[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join(' | ')} |`
  const rule = widths.map((width, i) => '-'.repeat(width - 1) + (isNumber[i] ? ':' : '-'))
  return [line(heads), line(rule), ...rows.map(line)]
}
