import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'
import { scenarios } from './scenario.ts'

/** What cannot be tried yet, or only in part, and what it waits for. */
const waiting: readonly { readonly id: string; readonly isWhole: boolean; readonly for: string }[] =
  [
    {
      id: 'R31',
      isWhole: false,
      for: 'TCP_USER_TIMEOUT, which nothing sets before there is the native plane',
    },
    {
      id: 'R36',
      isWhole: false,
      for: 'the native plane: so far the way below a layer is the same socket in Node',
    },
  ]

const here = fileURLToPath(new URL('.', import.meta.url))
const tested = new Map<string, string[]>()
for (const file of globSync('*.test.ts', { cwd: here }).sort()) {
  for (const id of idsIn(readFileSync(`${here}${file}`, 'utf8'))) {
    tested.set(id, [...(tested.get(id) ?? []), file])
  }
}

/** Scenarios are named where they are tried: `scenario('R01', …` or `['R01', …` in a table of some. */
function idsIn(text: string): string[] {
  return [...text.matchAll(/(?:scenario\(|\[)\s*'(R\d\d)'/g)].map(([, id = '']) => id)
}

test('every scenario of the relay is tried, or waits for a reason', t => {
  assert.equal(scenarios.length, 48)
  const missing = scenarios.filter(({ id }) => !tested.has(id)).map(({ id }) => id)
  const excused = waiting.filter(({ isWhole }) => isWhole).map(({ id }) => id)
  assert.deepEqual(missing, excused.sort())
  for (const { id, for: reason } of waiting) t.diagnostic(`${id} waits for ${reason}`)
})

test('no test is of a scenario that is not on the list', () => {
  const known = new Set(scenarios.map(({ id }) => id))
  for (const [id, files] of tested) assert.ok(known.has(id), `${id} in ${files.join(', ')}`)
  for (const { id } of waiting) assert.ok(known.has(id), id)
})
