import type { StoredSettings } from '@dowell-chat/db'
import { z } from 'zod'
import { name, newName } from '../encoding/fields.ts'
import { versionField } from '../operation/preconditions.ts'

const MAX_PRODUCTS = 100

export const orgId = name.meta({ description: 'The organisation.', example: 'DOWELL12345' })

/** Fields of a room that only the support team sees, unless the settings say otherwise. */
export const internalRoomFields = ['assignee', 'labels', 'custom'] as const
export type InternalRoomField = (typeof internalRoomFields)[number]

/** A new setting is a line here and one in `defaults`; it needs no migration. */
export const settings = {
  products: z
    .array(newName, { error: 'must be a list' })
    .max(MAX_PRODUCTS, { error: `must have at most ${MAX_PRODUCTS} products` })
    .refine((products) => new Set(products).size === products.length, {
      error: 'must not have the same product twice',
    })
    .nullable()
    .meta({
      uniqueItems: true,
      description:
        'The products for which customers may open rooms, by `productName`; null: any product. Does not restrict existing rooms, keys and support tokens.',
    }),
  customerRoomFields: z
    .array(
      z.enum(internalRoomFields, { error: `must be one of ${internalRoomFields.join(', ')}` }),
      { error: 'must be a list' },
    )
    .refine((fields) => new Set(fields).size === fields.length, {
      error: 'must not have the same field twice',
    })
    .meta({
      uniqueItems: true,
      description:
        'The fields of their rooms that customers see besides the others. By default none: for a user token of a customer `assignee` is null, and `labels` and `custom` are empty.',
    }),
}

export const Settings = z.object(settings)
export type Settings = z.output<typeof Settings>

/** The settings of an organisation that never set them. */
export const defaults: Settings = { products: null, customerRoomFields: [] }

/** @param stored undefined for an organisation without settings */
export function readSettings(stored: StoredSettings | undefined): Settings {
  return stored === undefined ? defaults : { ...defaults, ...JSON.parse(stored.settings) }
}

/** The version of the settings; 0 if they were never set. */
export function settingsVersion(stored: StoredSettings | undefined): number {
  return stored?.version ?? 0
}

export const Organisation = z
  .object({
    id: z.string(),
    products: z
      .array(z.string())
      .nullable()
      .meta({ description: 'The products for which customers may open rooms; null: any product.' }),
    customerRoomFields: z
      .array(z.enum(internalRoomFields))
      .meta({ description: 'The fields of their rooms that customers see besides the others.' }),
    version: versionField('the settings'),
  })
  .meta({ id: 'Organisation', additionalProperties: true })
export type Organisation = z.output<typeof Organisation>

/** Drops settings that a newer version stored. */
export function toOrganisation(
  id: string,
  { products, customerRoomFields }: Settings,
  version: number,
): Organisation {
  return { id, products, customerRoomFields, version }
}

export const exampleOrganisation = {
  id: 'DOWELL12345',
  products: ['WIFIQRCODE', 'LEGALZARD'],
  customerRoomFields: [],
  version: 1,
}
