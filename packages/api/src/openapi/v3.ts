import type { z } from 'zod'
import { accessTable, columns, type ProcedureName } from '../operation/access.ts'
import { appRouter } from '../operation/operations.ts'
import { type Meta, procedure, router } from '../operation/trpc.ts'
import {
  capital,
  conditional,
  explain,
  type Json,
  nameBody,
  type Operation,
  type Paths,
  type Schemas,
  withExample,
} from './complete.ts'
import { errorResponses, wrongField } from './errors.ts'

/** The procedures that have a path, for trpc-to-openapi to read. */
export const v3Router = router(
  Object.fromEntries(
    Object.entries(appRouter._def.procedures).flatMap(([name, { _def }]) => {
      const { inputs, type } = _def as unknown as {
        inputs: [z.ZodObject]
        type: 'query' | 'mutation'
      }
      const { openapi, output } = _def.meta as Meta
      if (!openapi || !output) return []
      // Our documents name the errors and the security themselves: trpc-to-openapi keeps one text per code for all.
      const meta: Meta = { openapi: { ...openapi, errorResponses: [], protect: false } }
      return [[name, procedure.meta(meta).input(inputs[0]).output(output)[type](nothing)]]
    }),
  ),
)

/** Nobody calls these. */
async function nothing(): Promise<never> {
  throw new Error('this procedure is a document')
}

/** The paths of REST v3 as they were generated, completed by what each procedure's meta says. */
export function v3Paths(paths: Paths, schemas: Schemas): Paths {
  for (const [name, procedure] of Object.entries(appRouter._def.procedures)) {
    const meta = procedure._def.meta as Meta
    if (!meta.openapi) continue
    const operation = paths[meta.openapi.path]?.[meta.openapi.method.toLowerCase()]
    if (!operation) throw new Error(`${name} is missing from the generated document`)
    nameBody(operation, `${capital(name)}Request`, schemas)
    const example = meta.example?.input ?? {}
    explain(operation, {
      parameters: example,
      body: Object.fromEntries(
        Object.entries(example).filter(([key]) => !meta.openapi?.path.includes(`{${key}}`)),
      ),
      answer: meta.example?.output,
    })
    operation.responses = {
      ...successes(operation.responses[200] as Json, meta.rest),
      ...errorResponses(operation, 'Error', {
        errors: meta.errors,
        wrong: wrongField(operation, schemas),
      }),
    }
    if (meta.openapi.method === 'GET') conditional(operation)
    if (!isOpen(name as ProcedureName)) operation.security = [{ bearer: [] }]
  }
  return paths
}

/** Whether it needs no credential of a server in open mode. */
function isOpen(name: ProcedureName): boolean {
  return accessTable[name][columns.indexOf('open')] !== 'no'
}

/** 200, or 201 for what makes something; and both where the same call may find that it was made before. */
function successes(success: Json, rest: Meta['rest']): Operation['responses'] {
  if (!rest?.created) return { 200: { ...success, description: 'The answer' } }
  const made = { 201: { ...success, description: 'It was made' } }
  if (rest.repeated === undefined) return made
  const found = { ...withExample(success, rest.repeated), description: 'It was there already' }
  return { 200: found, ...made }
}
