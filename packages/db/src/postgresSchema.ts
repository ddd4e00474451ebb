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
 * Reads the migrations, which are written for SQLite, for PostgreSQL: an integer has 8 bytes there as well, text is
 * compared byte by byte as well (whatever the language of the server, and of its next version), and the options of
 * SQLite's tables are left out.
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
