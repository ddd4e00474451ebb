import {
  type ColumnDefinitionNode,
  type CreateTableNode,
  DataTypeNode,
  type KyselyPlugin,
  OperationNodeTransformer,
  type RootOperationNode,
  sql,
} from 'kysely'

/**
 * Translates the migrations, which are written for SQLite, to PostgreSQL: integers have 8 bytes, text is compared byte by
 * byte whatever the server's locale, and SQLite's table options are dropped.
 */
export const postgresSchema: KyselyPlugin = {
  transformQuery: ({ node }) => transformer.transformNode(node) as RootOperationNode,
  transformResult: async ({ result }) => result,
}

const textType = sql`text collate "C"`.toOperationNode()

class Transformer extends OperationNodeTransformer {
  protected override transformCreateTable(node: CreateTableNode): CreateTableNode {
    const { endModifiers: _, ...rest } = super.transformCreateTable(node)
    return rest
  }

  protected override transformColumnDefinition(node: ColumnDefinitionNode): ColumnDefinitionNode {
    const column = super.transformColumnDefinition(node)
    const { dataType } = column
    if (!DataTypeNode.is(dataType)) return column
    if (dataType.dataType === 'integer')
      return { ...column, dataType: DataTypeNode.create('bigint') }
    if (dataType.dataType === 'text') return { ...column, dataType: textType }
    return column
  }
}

const transformer = new Transformer()
