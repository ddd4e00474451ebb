class AnyOrganisation {
  readonly every = 'organisation'
}

/** Stands where an organisation's id would, for a caller who may act for every organisation. */
export const anyOrganisation = new AnyOrganisation()

/** Whose rows a query may touch. Every query takes one, so forgetting the organisation does not compile. */
export type OrgScope = string | AnyOrganisation
