/**
 * An engine in a process of its own, told what to do by its parent (`child-engine.ts`): for tests that
 * need another network, few descriptors, or memory that is not the test's own. Ends with its parent.
 */
import { closeSync, openSync } from 'node:fs'
import { devNull } from 'node:os'
import {
  becomes,
  connectionsIn,
  type MemoryInUse,
  memoryInUse,
  type TcpState,
} from './resources.ts'
import { footprint, startTunnel, type Tunnel, type TunnelOptions } from './tunnel.ts'

export type ChildOptions = Pick<
  TunnelOptions,
  'target' | 'tunnels' | 'listen' | 'policy' | 'connectTimeoutMs' | 'socket'
>

export interface Stopped {
  readonly left: number
  readonly bugs: readonly string[]
  /** Descriptors and the like, before the start and after the stop. */
  readonly before: string
  readonly after: string
}

export interface ChildCommands {
  start(options: ChildOptions): Readonly<Record<string, number>>
  ledger(): string[]
  flows(): number
  stop(graceMs: number): Stopped
  memory(): MemoryInUse
  /** As `connectionsIn`, in the network of that process. */
  connections(state: TcpState): string[]
  /** Takes every descriptor but so many; gives how many it took. */
  exhaust(left: number): number
  /** Gives them back. */
  relieve(): void
}
export type ChildCommand = keyof ChildCommands

type Run<K extends ChildCommand> = (
  ...given: Parameters<ChildCommands[K]>
) => ReturnType<ChildCommands[K]> | Promise<ReturnType<ChildCommands[K]>>

let tunnel: Tunnel | null = null
let before = ''
const taken: number[] = []

function engine(): Tunnel {
  if (tunnel === null) throw new Error('not started')
  return tunnel
}

const commands: { [K in ChildCommand]: Run<K> } = {
  start: async options => {
    before = footprint()
    tunnel = await startTunnel(options)
    const { records, events } = tunnel.heard
    const addRecord = records.add.bind(records)
    records.add = record => {
      addRecord(record)
      process.send?.({ record })
    }
    const addEvent = events.push.bind(events)
    events.push = (...added) => {
      for (const event of added) {
        process.send?.({ event: event.kind === 'fault' ? { ...event, why: null } : event })
      }
      return addEvent(...added)
    }
    return Object.fromEntries(
      tunnel.engine.inbounds.map(inbound => [inbound.tag, inbound.local.port]),
    )
  },
  ledger: () => engine().ledger(),
  flows: () => engine().engine.flows,
  stop: async graceMs => {
    const left = await engine().engine.stop(graceMs)
    await becomes(() => footprint() === before, 2_000)
    return { left, bugs: engine().engine.bugs.map(String), before, after: footprint() }
  },
  memory: memoryInUse,
  connections: connectionsIn,
  exhaust: left => {
    try {
      for (;;) taken.push(openSync(devNull, 'r'))
    } catch {
      // That was the last one.
    }
    for (const fd of taken.splice(0, left)) closeSync(fd)
    return taken.length
  },
  relieve: () => {
    for (const fd of taken.splice(0)) closeSync(fd)
  },
}

interface Order {
  readonly id: number
  readonly what: ChildCommand
  readonly given: never
}

process.on('message', (order: Order) => {
  void answer(order)
})
process.on('disconnect', () => process.exit(0))

async function answer({ id, what, given }: Order): Promise<void> {
  try {
    const run: (given: never) => unknown = commands[what]
    process.send?.({ id, is: (await run(given)) ?? null })
  } catch (thrown) {
    process.send?.({ id, error: String(thrown) })
  }
}
