import { initTRPC } from '@trpc/server'
import {
  type GenerateOpenApiDocumentOptions,
  generateOpenApiDocument,
  type OpenApiMeta,
} from 'trpc-to-openapi'
import type { z } from 'zod'
import { openApiMeta } from '../operation/trpc.ts'
import type { Paths, Schemas } from './complete.ts'

/** What trpc-to-openapi needs to document one URL. */
export interface Documented {
  readonly name: string
  readonly kind: 'query' | 'mutation'
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: `/${string}`
  readonly tag: string
  readonly summary: string
  readonly description?: string | undefined
  readonly input: z.ZodObject
  readonly output: z.ZodType
}

const t = initTRPC.meta<OpenApiMeta>().create()

/** Documents URLs that are not procedures of the router: those of v2, and event streams. */
export function generateFrom(
  documented: readonly Documented[],
  options: GenerateOpenApiDocumentOptions,
): { readonly paths: Paths; readonly schemas: Schemas } {
  const procedures = documented.map(({ name, kind, input, output, ...place }) => [
    name,
    t.procedure.meta(openApiMeta(place)).input(input).output(output)[kind](neverCalled),
  ])
  const document = generateOpenApiDocument(t.router(Object.fromEntries(procedures)), options)
  return { paths: document.paths as Paths, schemas: document.components?.schemas as Schemas }
}

function neverCalled(): never {
  throw new Error('this procedure only documents a URL')
}
