import type { RestPlace } from '../operation/operation.ts'
import { callNames, operationNamed } from '../operation/operations.ts'
import {
  capital,
  conditional,
  explain,
  type Json,
  nameBody,
  type Operation,
  type Paths,
  patchable,
  type Schemas,
  tagged,
  withExample,
} from './complete.ts'
import { errorResponses, wrongField } from './errors.ts'

/** Completes the generated paths of REST v3 with errors, examples and access. */
export function v3Paths(paths: Paths, schemas: Schemas): Paths {
  for (const name of callNames) {
    const { access, errors, example, input, rest } = operationNamed(name)
    const operation = paths[rest.path]?.[rest.method.toLowerCase()]
    if (!operation) throw new Error(`${name} is missing from the generated document`)
    nameBody(operation, `${capital(name)}Request`, schemas)
    explain(operation, {
      parameters: example.input,
      body: Object.fromEntries(
        Object.entries(example.input).filter(([key]) => !rest.path.includes(`{${key}}`)),
      ),
      answer: example.output,
    })
    operation.responses = {
      ...successes(operation.responses[200] as Json, rest),
      ...errorResponses(operation, 'Error', { errors, wrong: wrongField(operation, schemas) }),
    }
    if (rest.method === 'GET') conditional(operation)
    else if (rest.resource) tagged(operation, 'ifVersion' in input.shape)
    if (rest.mergePatch) patchable(operation, rest.mergePatch, schemas)
    if (access.open === 'none') operation.security = [{ bearer: [] }]
  }
  return paths
}

/** 200; 201 for an operation that creates something; both if a repeated call returns the existing object. */
function successes(success: Json, rest: RestPlace<never>): Operation['responses'] {
  if (!rest.created) return { 200: { ...success, description: 'Success' } }
  const createdResponse = { 201: { ...success, description: 'Created' } }
  if (rest.repeated === undefined) return createdResponse
  const existing = { ...withExample(success, rest.repeated), description: 'Already existed' }
  return { 200: existing, ...createdResponse }
}
