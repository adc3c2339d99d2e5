import { readFile, writeFile } from 'node:fs/promises'
import { afterEvent, wayEvents, wayStates, wayTable } from '../src/core/relay-states.ts'
import { flowStages } from '../src/engine/flow-stages.ts'

/*
 * Draws the states in docs/lifecycle.md from the tables that the code runs on. `--check` only says
 * whether the document is up to date.
 */

const path = new URL('../docs/lifecycle.md', import.meta.url)

function wayDrawing(): string {
  const arrows = wayStates.flatMap(from =>
    Object.entries(wayTable[from]).map(([event, to]) => `    ${from} --> ${to}: ${event}`),
  )
  const rows = wayStates.map(
    state =>
      `| ${state} | ${wayEvents.map(event => afterEvent(state, event) ?? '·').join(' | ')} |`,
  )
  return [
    '```mermaid',
    'stateDiagram-v2',
    '    [*] --> open',
    ...arrows,
    '    ended --> [*]',
    '    failed --> [*]',
    '```',
    '',
    `| state \\ event | ${wayEvents.join(' | ')} |`,
    `| --- |${' --- |'.repeat(wayEvents.length)}`,
    ...rows,
  ].join('\n')
}

function stageDrawing(): string {
  const arrows = Object.entries(flowStages).flatMap(([from, next]) =>
    next.map(to => `    ${from} --> ${to}`),
  )
  return [
    '```mermaid',
    'stateDiagram-v2',
    '    [*] --> accepting',
    ...arrows,
    '    over --> [*]',
    '```',
  ].join('\n')
}

/** Puts `drawing` between the two marks called `name`. */
export function withDrawing(text: string, name: string, drawing: string): string {
  const start = `<!-- drawn: ${name} -->`
  const end = `<!-- end: ${name} -->`
  const from = text.indexOf(start)
  const to = text.indexOf(end)
  if (from < 0 || to < from) throw new Error(`docs/lifecycle.md has no place for ${name}`)
  return `${text.slice(0, from + start.length)}\n${drawing}\n${text.slice(to)}`
}

const before = await readFile(path, 'utf8')
const after = withDrawing(withDrawing(before, 'way', wayDrawing()), 'flow', stageDrawing())
if (process.argv.includes('--check')) {
  if (before !== after) {
    process.stderr.write(
      'docs/lifecycle.md is not what the tables say: node scripts/draw-states.ts\n',
    )
    process.exitCode = 1
  }
} else await writeFile(path, after)
