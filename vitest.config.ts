import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { conditions: ['halftone-source'] },
  ssr: { resolve: { conditions: ['halftone-source', 'node', 'import', 'default'] } },
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['packages/*/test/**/*.test.ts'],
          exclude: ['**/*.slow.test.ts'],
          testTimeout: 30_000,
        },
      },
      {
        extends: true,
        test: { name: 'slow', include: ['packages/*/test/**/*.slow.test.ts'], testTimeout: 900_000 },
      },
    ],
  },
});
