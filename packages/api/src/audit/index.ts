import { listAuditEventsProcedure } from './listAuditEvents.ts'

export const auditProcedures = {
  listAuditEvents: listAuditEventsProcedure,
}
