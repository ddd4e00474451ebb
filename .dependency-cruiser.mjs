/**
 * Who may import whom. `npm run check` runs it; tests/walls.test.ts has a case for each rule.
 *
 * @type {import('dependency-cruiser').IConfiguration}
 */
export default {
  forbidden: [
    {
      name: 'no-circular',
      comment: 'Imports form no circle, types included.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'declared',
      comment:
        'A package imports what its package.json lists: add it there, or import it elsewhere.',
      severity: 'error',
      from: { path: '^(packages|apps)/[^/]+/src/|^examples/', pathNot: '/src/testing\\.ts$' },
      to: { dependencyTypes: ['unknown', 'npm-no-pkg', 'npm-unknown', 'npm-dev'] },
    },
    {
      name: 'entry-points',
      comment: 'Packages import each other by name, never by path.',
      severity: 'error',
      from: { path: '^((?:packages|apps)/[^/]+|examples|bench)/' },
      to: {
        path: '^(packages|apps)/[^/]+/src/',
        pathNot: ['^$1/', '^packages/[^/]+/src/index\\.ts$', '^packages/db/src/testing\\.ts$'],
      },
    },
    {
      name: 'layers',
      comment: 'Nothing imports the server or the client; only tests import test helpers.',
      severity: 'error',
      from: { path: '^((?:packages|apps)/[^/]+)/src/' },
      to: {
        path: '^(packages/client|apps/[^/]+)/|/src/testing\\.ts$',
        pathNot: '^$1/src/(?!testing)',
      },
    },
    {
      name: 'no-http',
      comment: 'packages/db and packages/api know no transport.',
      severity: 'error',
      from: { path: '^packages/(db|api)/src/' },
      to: { path: '^(node:)?(http|https|http2|net)$' },
    },
    {
      name: 'browser',
      comment: 'packages/client runs in browsers: no Node modules, and of packages/api types only.',
      severity: 'error',
      from: { path: '^packages/client/src/' },
      to: {
        path: '^packages/api/|^(node:)?[a-z0-9_/]+$',
        dependencyTypesNot: ['type-only', 'local'],
      },
    },
    {
      name: 'features',
      comment:
        "A feature imports its own folder, operation/, encoding/ and auth/, and of another feature only its schema.ts or policy.ts (audit's append.ts too).",
      severity: 'error',
      from: {
        path: '^packages/api/src/([^/]+)/',
        pathNot: '^packages/api/src/(operation|encoding|auth|openapi|v2|v3)/',
      },
      to: {
        path: '^packages/api/src/',
        pathNot: [
          '^packages/api/src/$1/',
          '^packages/api/src/(encoding|auth)/',
          '^packages/api/src/operation/(?!operations|trpc)',
          '^packages/api/src/[^/]+/(schema|policy)\\.ts$',
          '^packages/api/src/(audit/append|identifiers)\\.ts$',
        ],
      },
    },
    {
      name: 'shared',
      comment:
        'What all features share knows none of them, but for the list of operations and the type Deps.',
      severity: 'error',
      from: {
        path: '^packages/api/src/(operation/|encoding/|auth/|identifiers\\.ts)',
        pathNot: '^packages/api/src/operation/(operations|context)\\.ts$',
      },
      to: {
        path: '^packages/api/src/',
        pathNot: '^packages/api/src/(operation/|encoding/|auth/|identifiers\\.ts)',
      },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
}
