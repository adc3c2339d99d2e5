import { readdirSync, readlinkSync } from 'node:fs'
import type { Engine } from '../../src/index.ts'

/** What must be the same again when no flow is left. */
export interface State {
  /** Rows of the ledger. */
  readonly ledger: readonly string[]
  /** Open descriptors by kind; empty where there is no /proc. */
  readonly descriptors: readonly string[]
  readonly resources: readonly string[]
}

export function stateOf(engine: Engine | null): State {
  return {
    ledger: engine === null ? [] : counted(engine.ledger().map(row => `${row.kind} ${row.name}`)),
    descriptors: counted(descriptorKinds()),
    resources: counted(process.getActiveResourcesInfo()),
  }
}

/** What differs, in words; empty: nothing. */
export function differences(before: State, after: State): string[] {
  const parts = ['ledger', 'descriptors', 'resources'] as const
  return parts.flatMap(part => {
    const more = after[part].filter(text => !before[part].includes(text))
    const less = before[part].filter(text => !after[part].includes(text))
    if (more.length + less.length === 0) return []
    return [`${part}: ${less.slice(0, 8).join(', ')} became ${more.slice(0, 8).join(', ')}`]
  })
}

function descriptorKinds(): string[] {
  let names: string[] = []
  try {
    names = readdirSync('/proc/self/fd')
  } catch {
    return []
  }
  return names.flatMap(name => {
    try {
      return [kindOf(readlinkSync(`/proc/self/fd/${name}`))]
    } catch {
      // The one that the folder itself was read with.
      return []
    }
  })
}

/** `socket:[123]` is a socket like any other; a file is itself. */
function kindOf(target: string): string {
  return target.replace(/:\[\d+\]$/, '')
}

/** `3 x socket` for equal entries. */
function counted(names: readonly string[]): string[] {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return [...counts].map(([name, count]) => `${String(count)} x ${name}`).sort()
}

/** Memory that the program holds on to, in bytes, after two collections. */
export function heldBytes(): number {
  if (globalThis.gc === undefined) throw new Error('needs node --expose-gc')
  globalThis.gc()
  globalThis.gc()
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
}
