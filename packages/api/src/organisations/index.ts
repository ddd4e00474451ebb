import { getOrganisationProcedure } from './getOrganisation.ts'
import { updateOrganisationProcedure } from './updateOrganisation.ts'

export const organisationProcedures = {
  getOrganisation: getOrganisationProcedure,
  updateOrganisation: updateOrganisationProcedure,
}
