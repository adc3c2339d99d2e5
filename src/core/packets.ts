import type { Bytes } from '../bytes/bytes.ts'
import { copyOf } from '../bytes/bytes.ts'
import { type Endpoint, formatEndpoint } from './endpoint.ts'
import { asError, coreError, type ErrorMaker, errorArea, type SluiceError } from './errors.ts'
import { type Reason, type RelayRecord, reasonOf, type Side } from './flow-record.ts'
import { limits } from './limits.ts'
import type { Now } from './link.ts'
import { clean, type Ending, errorOf, failed, type Scope } from './scope.ts'

const packetsTable = {
  idle: ['network', 'no datagram in either direction'],
  'table-full': ['refused', 'too many associations'],
} as const
const packetsError: ErrorMaker<typeof packetsTable> = errorArea('packets', packetsTable)

/** One datagram. Received: `peer` is who sent it; to be sent: `peer` is who gets it. */
export interface Packet {
  bytes: Bytes
  peer: Endpoint
}

/**
 * Datagrams with an address each, in the hands of one owner. Datagrams may be lost, never mixed:
 * what does not fit is dropped and counted, never queued without a bound.
 */
export interface PacketLink {
  readonly scope: Scope
  readonly local: Endpoint
  /**
   * Fills the front of `batch`, at least one place, and says how many; 0 when the link has ended. The
   * bytes are borrowed until the next call. One call at a time.
   */
  receive(batch: Packet[]): Now<number>
  /** Sends the first `count`; answers how many payload bytes were taken. The rest is dropped and counted. */
  send(batch: readonly Packet[], count: number): Now<number>
  /** `fixed`: there is one peer and the addresses of packets to send are ignored. */
  readonly addresses: 'fixed' | 'per-packet'
  readonly bytesMax: number
  readonly dropped: number
}

/** Empty slots for `receive`. */
export function packetBatch(size: number): Packet[] {
  return Array.from({ length: size }, () => ({ bytes: nothing, peer: nowhere }))
}
const nothing: Bytes = new Uint8Array(0)
const nowhere: Endpoint = { host: '', port: 0 as Endpoint['port'] }

/**
 * A packet link whose datagrams are pushed in by someone who has them already, such as a shared
 * socket with many clients. At most `limits.packetsWaitingMax` wait; more are dropped and counted.
 */
export class PushedPackets implements PacketLink {
  readonly scope: Scope
  readonly local: Endpoint
  readonly addresses: 'fixed' | 'per-packet'
  readonly bytesMax: number = limits.packetBytesMax
  readonly #send: (packet: Packet) => boolean
  #waiting: Packet[] = []
  #wake: (() => void) | null = null
  #dropped = 0
  #ending: Ending | null = null

  /** `send` places one datagram toward the pushing side at once, or says false when it cannot. */
  constructor(
    scope: Scope,
    local: Endpoint,
    addresses: 'fixed' | 'per-packet',
    send: (packet: Packet) => boolean,
  ) {
    this.scope = scope
    this.local = local
    this.addresses = addresses
    this.#send = send
    scope.onEnd(ending => {
      this.#ending = ending
      this.#waiting = []
      this.#wake?.()
    })
  }

  get dropped(): number {
    return this.#dropped
  }

  /** Copies `bytes`; false when the datagram was dropped. */
  push(bytes: Bytes, peer: Endpoint): boolean {
    if (this.#ending !== null) return false
    if (this.#waiting.length >= limits.packetsWaitingMax) {
      this.#dropped += 1
      return false
    }
    this.#waiting.push({ bytes: copyOf(bytes), peer })
    this.#wake?.()
    return true
  }

  receive(batch: Packet[]): Now<number> {
    if (this.#ending !== null) return endOf(this.#ending)
    if (this.#wake !== null) throw coreError('busy')
    if (this.#waiting.length > 0) return this.#fill(batch)
    return new Promise<void>(resolve => {
      this.#wake = resolve
    }).then(() => {
      this.#wake = null
      return this.#ending === null ? this.#fill(batch) : endOf(this.#ending)
    })
  }

  #fill(batch: Packet[]): number {
    const taken = this.#waiting.splice(0, batch.length)
    for (const [at, packet] of taken.entries()) {
      const place = batch[at]
      if (place === undefined) continue
      place.bytes = packet.bytes
      place.peer = packet.peer
    }
    return taken.length
  }

  send(batch: readonly Packet[], count: number): number {
    if (this.#ending !== null) throw errorOf(this.#ending)
    let taken = 0
    for (let at = 0; at < count; at++) {
      const packet = batch[at]
      if (packet === undefined) break
      if (this.#send(packet)) taken += packet.bytes.length
      else this.#dropped += 1
    }
    return taken
  }
}

function endOf(ending: Ending): number {
  if (ending.kind === 'failed') throw ending.why
  return 0
}

/**
 * The one UDP association table: which client address has which association. Bounded; a full table
 * ends the association that has been silent longest. An association that ended is forgotten at once.
 */
export class AssociationTable {
  readonly #max: number
  /** Oldest use first: a use moves the entry to the end. */
  readonly #byKey = new Map<string, PushedPackets>()
  #evicted = 0

  constructor(max: number = limits.associationsMax) {
    this.#max = max
  }
  get size(): number {
    return this.#byKey.size
  }
  get evicted(): number {
    return this.#evicted
  }

  /** The association of `client`, marked as used now; null if there is none. */
  find(client: Endpoint): PushedPackets | null {
    const key = formatEndpoint(client)
    const found = this.#byKey.get(key)
    if (found === undefined) return null
    this.#byKey.delete(key)
    this.#byKey.set(key, found)
    return found
  }

  /** Enters `association`; it leaves by itself when its scope ends. */
  add(client: Endpoint, association: PushedPackets): void {
    const key = formatEndpoint(client)
    if (this.#byKey.has(key)) throw coreError('bug', { detail: { what: 'association twice' } })
    if (this.#byKey.size >= this.#max) this.#evictOldest()
    this.#byKey.set(key, association)
    association.scope.onEnd(() => {
      if (this.#byKey.get(key) === association) this.#byKey.delete(key)
    })
  }

  #evictOldest(): void {
    const [oldest] = this.#byKey
    if (oldest === undefined) return
    this.#byKey.delete(oldest[0])
    this.#evicted += 1
    void oldest[1].scope.end(failed(packetsError('table-full', { detail: { max: this.#max } })))
  }
}

/** Datagrams moved at once; bounds memory per direction and time per turn. */
const batchSize = 16

/**
 * Moves datagrams both ways between two packet links until one ends, fails, or nothing has moved for
 * `idleMs`. Owns both: they end with it. The record counts payload bytes.
 */
export function relayPackets(
  scope: Scope,
  near: PacketLink,
  far: PacketLink,
  idleMs: number,
): Promise<RelayRecord> {
  return new PacketRelay(scope, near, far, idleMs).run()
}

interface PacketWay {
  readonly from: PacketLink
  readonly to: PacketLink
  readonly fromSide: Side
  readonly toSide: Side
  readBytes: number
  writtenBytes: number
}

class PacketRelay {
  readonly #scope: Scope
  readonly #idleMs: number
  readonly #up: PacketWay
  readonly #down: PacketWay
  #lastMs: number
  #why: SluiceError | null = null
  #side: Side = 'local'
  #reason: Reason = 'clean'
  #laterFaults = 0
  #isOver = false
  readonly #over = Promise.withResolvers<void>()

  constructor(scope: Scope, near: PacketLink, far: PacketLink, idleMs: number) {
    near.scope.moveTo(scope)
    far.scope.moveTo(scope)
    this.#scope = scope
    this.#idleMs = idleMs
    this.#lastMs = scope.program.clock.now()
    const bytes = { readBytes: 0, writtenBytes: 0 }
    this.#up = { from: near, to: far, fromSide: 'near', toSide: 'far', ...bytes }
    this.#down = { from: far, to: near, fromSide: 'far', toSide: 'near', ...bytes }
  }

  async run(): Promise<RelayRecord> {
    const timer = this.#scope.timer('packets idle', nowMs => {
      const dueMs = this.#lastMs + this.#idleMs
      if (dueMs > nowMs) timer.setAt(dueMs)
      else this.#finish('local', packetsError('idle'), 'idle')
    })
    timer.setAt(this.#lastMs + this.#idleMs)
    const hook = this.#scope.onEnd(ending => {
      this.#finish('local', errorOf(ending))
    })
    this.#start(this.#up)
    this.#start(this.#down)
    await this.#over.promise
    timer.drop()
    hook.drop()
    const ending = this.#why === null ? clean : failed(this.#why)
    await Promise.all([this.#up.from.scope.end(ending), this.#down.from.scope.end(ending)])
    return this.#record()
  }

  #start(way: PacketWay): void {
    this.#pump(way).then(
      () => {
        this.#finish(way.fromSide, null)
      },
      (thrown: unknown) => {
        this.#finish(way.fromSide, asError(thrown))
      },
    )
  }

  async #pump(way: PacketWay): Promise<void> {
    const batch = packetBatch(batchSize)
    const clock = this.#scope.program.clock
    for (;;) {
      const got = way.from.receive(batch)
      const count = got instanceof Promise ? await got : got
      if (count === 0 || this.#isOver) return
      this.#lastMs = clock.now()
      for (let at = 0; at < count; at++) way.readBytes += batch[at]?.bytes.length ?? 0
      try {
        const put = way.to.send(batch, count)
        way.writtenBytes += put instanceof Promise ? await put : put
      } catch (thrown) {
        this.#finish(way.toSide, asError(thrown))
        return
      }
    }
  }

  #finish(side: Side, why: SluiceError | null, reason?: Reason): void {
    if (this.#isOver) {
      // What ends both links comes back from their pending calls: that is no other fault.
      if (why !== null && why !== this.#why) this.#laterFaults += 1
      return
    }
    this.#isOver = true
    this.#why = why
    this.#side = side
    if (why !== null) this.#reason = reason ?? reasonOf(why)
    this.#over.resolve()
  }

  #record(): RelayRecord {
    const why = this.#why
    const state = why === null ? 'ended' : 'failed'
    return {
      reason: this.#reason,
      side: this.#side,
      call: why?.call ?? null,
      code: why?.code ?? null,
      system: why?.system ?? null,
      why,
      up: { read: this.#up.readBytes, written: this.#up.writtenBytes },
      down: { read: this.#down.readBytes, written: this.#down.writtenBytes },
      upState: state,
      downState: state,
      laterFaults: this.#laterFaults,
    }
  }
}
