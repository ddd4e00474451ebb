import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['packages/*/tests/**/*.test.ts', 'apps/*/tests/**/*.test.ts', 'tests/**/*.test.ts'],
    // Real servers, databases and processes on a machine with two cores.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
