/** Stands where an organisation's id would, for a caller who may act for every organisation. */
export const anyOrganisation: unique symbol = Symbol('any organisation')

/**
 * Whose rows a query may touch. Every query takes one, so forgetting the organisation does not compile; and only the
 * symbol itself opens every organisation's rows, so a value that went missing on the way opens none.
 */
export type OrgScope = string | typeof anyOrganisation
