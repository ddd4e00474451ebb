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
  type Schemas,
  withExample,
} from './complete.ts'
import { errorResponses, wrongField } from './errors.ts'

/** Completes the generated paths of REST v3 with errors, examples and access. */
export function v3Paths(paths: Paths, schemas: Schemas): Paths {
  for (const name of callNames) {
    const { access, errors, example, rest } = operationNamed(name)
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
    if (access.open === 'none') operation.security = [{ bearer: [] }]
  }
  return paths
}

/** 200, or 201 for what creates something; both where a repeated call finds what exists. */
function successes(success: Json, rest: RestPlace<never>): Operation['responses'] {
  if (!rest.created) return { 200: { ...success, description: 'The answer' } }
  const made = { 201: { ...success, description: 'It was made' } }
  if (rest.repeated === undefined) return made
  const found = { ...withExample(success, rest.repeated), description: 'It was there already' }
  return { 200: found, ...made }
}
