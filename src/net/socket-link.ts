import type net from 'node:net'
import type { Bytes } from '../bytes/bytes.ts'
import { type Endpoint, formatEndpoint, parsePort } from '../core/endpoint.ts'
import { coreError, type SluiceError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import {
  type GoneListener,
  Link,
  type Moved,
  type Now,
  type Sink,
  type Source,
} from '../core/link.ts'
import { clean, type Ending, failed, type Held, type Scope, type Timer } from '../core/scope.ts'
import type { SendQueue } from '../native/send-queue.ts'
import { netError, systemError } from './errors.ts'

export interface SocketOptions {
  /** Idle time before the kernel asks a silent peer whether it lives; 0: never. */
  readonly keepAliveMs: number
  /** After the peer's end: how often to ask whether it is still there at all. */
  readonly halfCloseProbeMs: number
}

export const defaultSocketOptions: SocketOptions = {
  keepAliveMs: 15_000,
  halfCloseProbeMs: 15_000,
}

/**
 * For the sockets beneath: a paused one stops reading with the first chunk that Node buffers. With more,
 * small chunks below that mark and a full one on top made nearly two.
 */
export const highWaterBytes = 1

/** How often a reset that waits looks at the kernel's queue. */
const queuePollMs = 20

type Writer = PromiseWithResolvers<undefined>
type Reader = PromiseWithResolvers<Bytes | null>

/**
 * A link on one of Node's sockets, TCP or UNIX, which must be paused, not destroyed, and made with
 * `allowHalfOpen`. Holds at most one chunk read ahead above Node's own buffer of one chunk.
 */
export class SocketLink implements Source, Sink {
  readonly #socket: net.Socket
  readonly #scope: Scope
  readonly #held: Held
  readonly #queue: SendQueue
  readonly #isTcp: boolean
  readonly #options: SocketOptions
  /** Read by Node and not yet wanted: at most what one event brought. */
  #ahead: Bytes[] = []
  #reader: Reader | null = null
  #writer: Writer | null = null
  #hasEnd = false
  #isWriteEnded = false
  /** The end is on its way to the kernel, which takes a turn. */
  #isEndPending = false
  #fault: SluiceError | null = null
  /** Set by the owner's end: nothing is delivered any more. */
  #ending: Ending | null = null
  #onGone: GoneListener = () => undefined
  #closed: (() => void) | null = null
  #droppedBytes = -1
  #lastWriteMs = Number.NEGATIVE_INFINITY
  #probe: Timer | null = null
  #readBytes = 0
  #writtenBytes = 0

  private constructor(
    socket: net.Socket,
    scope: Scope,
    queue: SendQueue,
    options: SocketOptions,
    name: string,
  ) {
    this.#socket = socket
    this.#scope = scope
    this.#queue = queue
    this.#options = options
    this.#isTcp = socket.remoteFamily !== undefined
    this.#held = scope.hold(
      'socket',
      name,
      ending => this.#release(ending),
      () => `in ${String(this.#readBytes)} out ${String(this.#writtenBytes)}`,
    )
    if (this.#isTcp && options.keepAliveMs > 0) socket.setKeepAlive(true, options.keepAliveMs)
    socket.on('data', bytes => {
      if (typeof bytes !== 'string') this.#onData(bytes)
    })
    socket.pause()
    socket.on('end', () => {
      this.#hasEnd = true
      this.#answer()
    })
    socket.on('error', thrown => {
      this.#onError(thrown)
    })
    socket.on('close', () => {
      this.#onClose()
    })
  }

  /** Takes `socket` over: it and everything made for it belongs to a new scope inside `owner`. */
  static over(
    socket: net.Socket,
    owner: Scope,
    name: string,
    queue: SendQueue,
    options: SocketOptions,
    path: { readonly remote: Endpoint; readonly local: Endpoint } = pathOf(socket),
  ): Link {
    const scope = owner.child('leg', name)
    const halves = new SocketLink(socket, scope, queue, options, formatEndpoint(path.remote))
    return new Link(
      {
        path,
        scope,
        onGone: listener => {
          halves.#onGone = listener
        },
      },
      halves,
      halves,
    )
  }

  // Reading.

  read(): Now<Bytes | null | Moved<Source>> {
    if (this.#reader !== null) throw coreError('busy', { detail: { call: 'read' } })
    const ready = this.#next()
    if (ready !== undefined) return ready
    this.#reader = Promise.withResolvers<Bytes | null>()
    this.#socket.resume()
    return this.#reader.promise
  }

  /** What can be given at once; undefined when it has to be waited for. */
  #next(): Bytes | null | undefined {
    if (this.#ending !== null) {
      throw this.#ending.kind === 'failed' ? this.#ending.why : coreError('spent')
    }
    if (this.#ahead.length === 0 && this.#socket.readableLength > 0) this.#pull()
    const bytes = this.#ahead.shift()
    if (bytes !== undefined) return bytes
    if (this.#fault !== null) throw this.#fault
    if (!this.#hasEnd) return undefined
    this.#startProbe()
    return null
  }

  /** Takes what Node has buffered; before a failure it comes as an event, after one only here. */
  #pull(): void {
    const before = this.#ahead.length
    const bytes: unknown = this.#socket.read()
    if (bytes instanceof Uint8Array && this.#ahead.length === before) this.#ahead.push(bytes)
  }

  #onData(bytes: Bytes): void {
    this.#readBytes += bytes.length
    if (this.#droppedBytes >= 0) {
      this.#dropMore(bytes.length)
      return
    }
    this.#socket.pause()
    this.#ahead.push(bytes)
    this.#answer()
  }

  /** Gives the waiting reader what there is. */
  #answer(): void {
    const reader = this.#reader
    if (reader === null) return
    try {
      const ready = this.#next()
      if (ready === undefined) return
      this.#reader = null
      reader.resolve(ready)
    } catch (thrown) {
      this.#reader = null
      reader.reject(thrown)
    }
  }

  cancel(why: SluiceError): void {
    if (this.#droppedBytes >= 0 || this.#hasEnd || this.#ending !== null) return
    this.#droppedBytes = 0
    const timer = this.#scope.timer('cancel', () => {
      void this.#scope.end(failed(why))
    })
    timer.setAfter(limits.cancelDropMs)
    for (const bytes of this.#ahead.splice(0)) this.#dropMore(bytes.length)
    this.#socket.resume()
  }

  #dropMore(size: number): void {
    this.#droppedBytes += size
    if (this.#droppedBytes > limits.cancelDropBytes) {
      void this.#scope.end(failed(netError('reset', { detail: { dropped: this.#droppedBytes } })))
    }
  }

  // Writing.

  get ends(): 'half' {
    return 'half'
  }
  get resets(): 'plain' | 'closes' {
    return this.#isTcp ? 'plain' : 'closes'
  }
  get waitingBytes(): number {
    return this.#writer === null ? 0 : writeQueueSize(this.#socket)
  }

  write(bytes: Bytes | readonly Bytes[]): Promise<undefined> {
    const writer = this.#beginWrite('write')
    const size = bytes instanceof Uint8Array ? bytes.length : sizeOf(bytes)
    const onDone = (error?: Error | null): void => {
      if (error === null || error === undefined) this.#writtenBytes += size
      this.#endWrite(writer, error, 'write')
    }
    if (bytes instanceof Uint8Array) this.#socket.write(bytes, onDone)
    else this.#writeAll(bytes, onDone)
    return writer.promise
  }

  #writeAll(parts: readonly Bytes[], onDone: (error?: Error | null) => void): void {
    this.#socket.cork()
    for (const part of parts.slice(0, -1)) this.#socket.write(part)
    this.#socket.write(parts.at(-1) ?? new Uint8Array(0), onDone)
    this.#socket.uncork()
  }

  flush(): undefined {
    // A write is done only when the kernel has it, so nothing waits here.
    if (this.#ending?.kind === 'failed') throw this.#ending.why
    return undefined
  }

  closeWrite(): Promise<undefined> {
    const writer = this.#beginWrite('shutdown')
    this.#isWriteEnded = true
    this.#probe?.drop()
    this.#isEndPending = true
    this.#socket.end(() => {
      this.#isEndPending = false
      this.#endWrite(writer, null, 'shutdown')
    })
    return writer.promise
  }

  #beginWrite(call: 'write' | 'shutdown'): Writer {
    if (this.#writer !== null) throw coreError('busy', { detail: { call } })
    if (this.#ending !== null) {
      throw this.#ending.kind === 'failed' ? this.#ending.why : coreError('spent')
    }
    if (this.#fault !== null) throw this.#fault
    if (this.#isWriteEnded) throw coreError('bug', { detail: { what: `${call} after the end` } })
    const writer = Promise.withResolvers<undefined>()
    this.#writer = writer
    return writer
  }

  #endWrite(writer: Writer, error: Error | null | undefined, call: 'write' | 'shutdown'): void {
    this.#lastWriteMs = this.#scope.program.clock.now()
    if (this.#writer !== writer) return
    this.#writer = null
    if (error === null || error === undefined) writer.resolve(undefined)
    else writer.reject(systemError(error, call))
  }

  reset(why: SluiceError, after?: { readonly graceMs: number }): void {
    if (after === undefined || this.#ending !== null || this.#fault !== null) {
      void this.#scope.end(failed(why))
      return
    }
    const clock = this.#scope.program.clock
    const limitMs = clock.now() + after.graceMs
    const timer = this.#scope.timer('reset', () => {
      look()
    })
    const look = (): void => {
      const nowMs = clock.now()
      if (nowMs >= limitMs || this.#hasAllLeft(nowMs, after.graceMs)) {
        void this.#scope.end(failed(why))
      } else timer.setAt(Math.min(nowMs + queuePollMs, limitMs))
    }
    look()
  }

  /** Whether all that was written has reached the peer; without a way to ask, after a quiet time. */
  #hasAllLeft(nowMs: number, graceMs: number): boolean {
    if (this.#writer !== null) return false
    if (!this.#isTcp) return true
    const fd = descriptorOf(this.#socket)
    const unsent = fd === null ? null : this.#queue.unsentBytes(fd)
    return unsent === null ? nowMs >= this.#lastWriteMs + graceMs : unsent === 0
  }

  // Ends and failures.

  /**
   * After the peer's end Node does not look at the socket any more, so a peer that has gone altogether
   * stays unnoticed. An empty write reaches the kernel and brings its answer (seen with Node 26.10).
   */
  #startProbe(): void {
    if (this.#isWriteEnded || this.#probe !== null || this.#options.halfCloseProbeMs === 0) return
    const probe = this.#scope.timer('half-close probe', () => {
      if (this.#writer === null && !this.#isWriteEnded) this.#socket.write(new Uint8Array(0))
      probe.setAfter(this.#options.halfCloseProbeMs)
    })
    probe.setAfter(this.#options.halfCloseProbeMs)
    this.#probe = probe
  }

  #onError(thrown: unknown): void {
    const isWaitedFor = this.#reader !== null || this.#writer !== null
    this.#fault ??= systemError(thrown, this.#writer !== null && this.#hasEnd ? 'write' : 'read')
    this.#drainNode()
    this.#answer()
    this.#failWriter(systemError(thrown, 'write'))
    if (!isWaitedFor) this.#onGone(this.#hasEnd ? 'sink' : 'source', this.#fault)
  }

  #drainNode(): void {
    while (this.#socket.readableLength > 0 && this.#ending === null) {
      const before = this.#socket.readableLength
      this.#pull()
      if (this.#socket.readableLength >= before) return
    }
  }

  #failWriter(why: SluiceError): void {
    const writer = this.#writer
    this.#writer = null
    writer?.reject(why)
  }

  /** Node has closed the descriptor: by itself, or because our scope ended. */
  #onClose(): void {
    const isClean = this.#hasEnd && this.#fault === null
    if (!isClean) this.#fault ??= netError('reset', { call: 'read', system: 'ECONNRESET' })
    this.#answer()
    if (this.#fault !== null) this.#failWriter(this.#fault)
    this.#closed?.()
    this.#held.drop()
    if (this.#ending === null) {
      void this.#scope.end(this.#fault === null ? clean : failed(this.#fault))
    }
  }

  #release(ending: Ending): void | Promise<void> {
    this.#ending = ending
    this.#ahead = []
    const why = ending.kind === 'failed' ? ending.why : coreError('spent')
    const reader = this.#reader
    this.#reader = null
    reader?.reject(why)
    this.#failWriter(why)
    if (this.#socket.closed) return undefined
    const closed = new Promise<void>(resolve => {
      this.#closed = resolve
    })
    if (ending.kind === 'failed' && this.#isTcp && !this.#socket.destroyed) {
      // While an end is on its way libuv refuses to reset, and Node then never closes the descriptor.
      if (this.#isEndPending) this.#socket.once('finish', () => this.#socket.resetAndDestroy())
      else this.#socket.resetAndDestroy()
    } else this.#socket.destroy()
    return closed
  }
}

function sizeOf(parts: readonly Bytes[]): number {
  let size = 0
  for (const part of parts) size += part.length
  return size
}

/** Addresses as they are now; a UNIX socket has none. */
function pathOf(socket: net.Socket): { remote: Endpoint; local: Endpoint } {
  return {
    remote: endpointOf(socket.remoteAddress, socket.remotePort),
    local: endpointOf(socket.localAddress, socket.localPort),
  }
}

function endpointOf(host: string | undefined, port: number | undefined): Endpoint {
  return { host: host === undefined ? '@' : plainHost(host), port: parsePort(port ?? 0) }
}

/** Node writes IPv4 peers of a dual-stack socket as `::ffff:1.2.3.4`. */
export function plainHost(host: string): string {
  return host.startsWith('::ffff:') && host.includes('.') ? host.slice(7) : host
}

interface HandleFacts {
  readonly fd: number
  readonly writeQueueSize: number
}

/** Node keeps these two facts to itself; without them the caller does with less. */
function handleFacts(socket: net.Socket): Partial<HandleFacts> {
  const handle: unknown = Reflect.get(socket, '_handle')
  if (typeof handle !== 'object' || handle === null) return {}
  const fd: unknown = Reflect.get(handle, 'fd')
  const size: unknown = Reflect.get(handle, 'writeQueueSize')
  return {
    ...(typeof fd === 'number' && fd >= 0 ? { fd } : {}),
    ...(typeof size === 'number' ? { writeQueueSize: size } : {}),
  }
}

function descriptorOf(socket: net.Socket): number | null {
  return handleFacts(socket).fd ?? null
}

function writeQueueSize(socket: net.Socket): number {
  return handleFacts(socket).writeQueueSize ?? socket.writableLength
}
