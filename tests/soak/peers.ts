/** The process of clients and origin: what it opens does not count among the engine's descriptors. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { Random } from '../../src/testing/random.ts'
import { clients } from './clients.ts'
import { openOrigin } from './origin.ts'
import type { Talk } from './talk.ts'
import { type Doors, type Order, type Told, type WayName, wayNames, ways } from './ways.ts'

/** A flow that takes longer hangs. */
const stuckMs = 30_000
const faultsMax = 20
const slowAtOnce = 150

const origin = await openOrigin()
let doors: Doors | null = null
let patienceMs = 0

process.on('message', (order: Order) => {
  obey(order).catch((thrown: unknown) => {
    console.error(thrown)
    process.exit(1)
  })
})
process.once('disconnect', () => process.exit())
tell({ kind: 'origin', origin })

function tell(told: Told): void {
  process.send?.(told)
}

async function obey(order: Order): Promise<void> {
  switch (order.kind) {
    case 'doors':
      doors = order.doors
      patienceMs = order.patienceMs
      return
    case 'run':
      return run(order)
    case 'linger':
      return linger(order.flows)
    case 'quit':
      process.exit()
      return
    default:
      order satisfies never
  }
}

async function run(order: Order & { readonly kind: 'run' }): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  const random = new Random(order.seed)
  const chosen = Array.from({ length: order.flows }, () => draw(random, order))
  const batch = new Batch()
  await Promise.all([
    batch.play(
      chosen.filter(way => !ways[way].isSlow),
      order.atOnce,
      random,
    ),
    batch.play(
      chosen.filter(way => ways[way].isSlow),
      slowAtOnce,
      random,
    ),
  ])
  delay.disable()
  tell({ ...batch.told(), delayMs: Math.round(delay.max / 1e6) })
}

function draw(random: Random, { hasSlow, only }: Order & { readonly kind: 'run' }): WayName {
  const names = wayNames.filter(name => (hasSlow || !ways[name].isSlow) && name.includes(only))
  const all = names.reduce((sum, name) => sum + ways[name].weight, 0)
  let left = random.next() * all
  for (const name of names) {
    left -= ways[name].weight
    if (left < 0) return name
  }
  return 'client-ends-first'
}

async function linger(flows: number): Promise<void> {
  const batch = new Batch()
  const over = batch.play(
    Array.from({ length: flows }, () => 'stopped'),
    flows,
    new Random(1),
  )
  while (batch.madeTotal < flows) await sleep(5)
  // Made is not yet served: the first byte has to come back.
  await sleep(100)
  tell({ kind: 'lingering' })
  await over
  tell({ ...batch.told(), delayMs: 0 })
}

/** Flows that are played together. */
class Batch {
  readonly #made: Partial<Record<WayName, number>> = {}
  readonly #faults: string[] = []
  #faultsTotal = 0
  madeTotal = 0

  told(): Omit<Told & { kind: 'ran' }, 'delayMs'> {
    return {
      kind: 'ran',
      made: this.#made,
      faults: this.#faults,
      faultsTotal: this.#faultsTotal,
    }
  }

  async play(chosen: readonly WayName[], atOnce: number, random: Random): Promise<void> {
    const left = [...chosen]
    const lanes = Array.from({ length: atOnce }, async () => {
      for (let way = left.pop(); way !== undefined; way = left.pop()) {
        // Each flow has randomness of its own, so that one seed stays one run.
        await this.#playOne(way, new Random(random.whole(0, 2 ** 31)))
      }
    })
    await Promise.all(lanes)
  }

  async #playOne(way: WayName, random: Random): Promise<void> {
    if (doors === null) throw new Error('no doors')
    const onMade = (): void => {
      this.#made[way] = (this.#made[way] ?? 0) + 1
      this.madeTotal += 1
    }
    const opened: Talk[] = []
    const late = new AbortController()
    const stuck = sleep(stuckMs, null, { signal: late.signal }).then(() => {
      throw new Error('stuck')
    })
    try {
      const stage = { way, random, doors, origin, patienceMs, opened, onMade }
      await Promise.race([clients[way](stage), stuck])
    } catch (thrown) {
      this.#faultsTotal += 1
      if (this.#faults.length < faultsMax) this.#faults.push(`${way} ${messageOf(thrown)}`)
    } finally {
      late.abort()
      stuck.catch(() => undefined)
      for (const talk of opened) talk.socket.destroy()
    }
  }
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
