import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('peer.py', import.meta.url))

/** What a read came to. `end`: `eof`, the system's name of an error, or null: all wanted bytes came. */
export interface ReadResult {
  readonly bytes: number
  readonly end: string | null
  /** The first 4,096 bytes. */
  readonly head: Buffer
  /** Every byte was the one that stands there in the pattern that was named. */
  readonly isRight: boolean
  /** When the first byte was there; null: none came. */
  readonly firstAt: number | null
  readonly at: number
}

export interface SendResult {
  /** Bytes that the peer's kernel took. */
  readonly sent: number
  readonly failed: string | null
  readonly at: number
}

export interface ReadOptions {
  /** Without it: to the end. */
  readonly bytes?: number
  /** The pattern that is expected. */
  readonly seed?: number
  /** So many bytes of the pattern are changed, as `veiled` of `SendOptions` does it. */
  readonly veiled?: number
  /** At most so many bytes a call, 65,536 or less, */
  readonly step?: number
  /** with such a pause before each. */
  readonly everyMs?: number
  readonly afterMs?: number
}

export interface SendOptions {
  /** The first so many bytes of the pattern have some bits the other way round (0x5a). */
  readonly veiled?: number
  readonly step?: number
  readonly everyMs?: number
  readonly afterMs?: number
  /** Sends the end right behind. */
  readonly thenEnd?: boolean
}

/** The kernel's buffers of a socket; small ones make a relay wait early. */
export interface BufferOptions {
  readonly receiveBuffer?: number
  readonly sendBuffer?: number
}

type Answer = Readonly<Record<string, unknown>>
interface Pending {
  readonly resolve: (answer: Answer) => void
  readonly reject: (why: Error) => void
}

/**
 * A program beside the test, in Python, that opens plain TCP sockets and says how they end: a reset
 * and an end are never mixed up there, and it goes on while the loop of the test stands still.
 */
export class Peer implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #pending = new Map<number, Pending>()
  readonly #gone = Promise.withResolvers<void>()
  #lastId = 0
  #errors = ''

  private constructor(child: ChildProcess) {
    this.#child = child
    child.on('error', error => {
      this.#fail(error)
      this.#gone.resolve()
    })
    child.on('close', () => {
      this.#fail(new Error(`the peer has ended ${this.#errors}`))
      this.#gone.resolve()
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text
    })
    // A peer that has ended takes no more commands; who waits for an answer hears of it.
    child.stdin?.on('error', () => undefined)
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on('line', line => {
        this.#hear(line)
      })
    }
  }

  /** `through` begins the command line, as `['ip', 'netns', 'exec', 'NAME']`. */
  static start(through: readonly string[] = []): Peer {
    const [command, ...args] = [...through, 'python3', '-u', program]
    return new Peer(spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] }))
  }

  async listen(options: BufferOptions & ListenPlace = {}): Promise<PeerListener> {
    const given = { host: '127.0.0.1', ...options }
    const answer = await this.ask('listen', given)
    return new PeerListener(this, Number(answer['listener']), given.host, Number(answer['port']))
  }

  /** Rejects with the system's name of the failure as its message. */
  async connect(port: number, options: BufferOptions & { host?: string } = {}): Promise<PeerConn> {
    const answer = await this.ask('connect', { host: '127.0.0.1', port, ...options })
    return new PeerConn(this, answer)
  }

  /** @internal */
  ask(what: string, given: Readonly<Record<string, unknown>>): Promise<Answer> {
    this.#lastId += 1
    const id = this.#lastId
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      this.#child.stdin?.write(`${JSON.stringify({ id, do: what, ...given })}\n`)
    })
  }

  #hear(line: string): void {
    const answer: { id: number; is?: Answer; error?: string } = JSON.parse(line)
    const pending = this.#pending.get(answer.id)
    this.#pending.delete(answer.id)
    if (answer.is === undefined) pending?.reject(new Error(answer.error ?? 'no answer'))
    else pending?.resolve(answer.is)
  }

  #fail(why: Error): void {
    for (const { reject } of this.#pending.values()) reject(why)
    this.#pending.clear()
  }

  /** Ends the program with all its sockets. */
  async stop(): Promise<void> {
    this.#pending.clear()
    this.#child.stdin?.end()
    await this.#gone.promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

interface ListenPlace {
  readonly host?: string
  readonly port?: number
  readonly backlog?: number
}

export class PeerListener {
  readonly host: string
  readonly port: number
  readonly #peer: Peer
  readonly #listener: number
  constructor(peer: Peer, listener: number, host: string, port: number) {
    this.#peer = peer
    this.#listener = listener
    this.host = host
    this.port = port
  }
  async accept(): Promise<PeerConn> {
    return new PeerConn(this.#peer, await this.#peer.ask('accept', { listener: this.#listener }))
  }
  /** Null when nobody has come within `waitMs`. */
  async acceptWithin(waitMs: number): Promise<PeerConn | null> {
    const answer = await this.#peer.ask('accept', { listener: this.#listener, waitMs })
    return answer['conn'] === 0 ? null : new PeerConn(this.#peer, answer)
  }
  async stop(): Promise<void> {
    await this.#peer.ask('stop', { listener: this.#listener })
  }
}

/** One connection of the peer. One read and one write at a time, side by side if need be. */
export class PeerConn {
  /** The port at the other program's side of a connection that came, our own of one we made. */
  readonly port: number
  /** When it was there. */
  readonly at: number
  readonly #peer: Peer
  readonly #conn: number
  constructor(peer: Peer, answer: Answer) {
    this.#peer = peer
    this.#conn = Number(answer['conn'])
    this.port = Number(answer['port'])
    this.at = Number(answer['at'])
  }

  async read(options: ReadOptions = {}): Promise<ReadResult> {
    const { hex, ...answer } = await this.#ask<Omit<ReadResult, 'head'> & { hex: string }>(
      'read',
      options,
    )
    return { ...answer, head: Buffer.from(hex, 'hex') }
  }
  /** Everything up to an end, which must be one. */
  async readText(options: ReadOptions = {}): Promise<string> {
    const read = await this.read(options)
    if (options.bytes === undefined && read.end !== 'eof') throw new Error(String(read.end))
    if (options.bytes !== undefined && read.end !== null) throw new Error(read.end)
    return read.head.toString('latin1')
  }
  say(text: string, options: SendOptions = {}): Promise<SendResult> {
    return this.#ask('send', { text, ...options })
  }
  sayBytes(bytes: Uint8Array, options: SendOptions = {}): Promise<SendResult> {
    return this.#ask('send', { hex: Buffer.from(bytes).toString('hex'), ...options })
  }
  /** So many bytes of the pattern `seed`. */
  send(bytes: number, seed: number, options: SendOptions = {}): Promise<SendResult> {
    return this.#ask('send', { bytes, seed, ...options })
  }
  /** Writes the pattern `seed` until nothing was taken for `quietMs`. */
  fill(seed: number, quietMs: number, options: { step?: number } = {}): Promise<SendResult> {
    return this.#ask('fill', { seed, quietMs, ...options })
  }
  /**
   * Waits for the connection to be broken, without reading: `error` for a reset and the like, `closed`
   * for both ends; null: neither within `waitMs`.
   */
  gone(waitMs?: number): Promise<{ readonly why: 'error' | 'closed' | null; readonly at: number }> {
    return this.#ask('gone', waitMs === undefined ? {} : { waitMs })
  }
  /** Sends the end; reading goes on. Gives the time right before that. */
  async end(afterMs = 0): Promise<number> {
    return (await this.#ask<{ at: number }>('shutdown', { afterMs })).at
  }
  /** Closes the descriptor: an end, or a reset where something was not read. */
  async close(afterMs = 0): Promise<number> {
    return (await this.#ask<{ at: number }>('close', { afterMs })).at
  }
  /** Sends a reset; with `afterEnd` an end right before it. */
  async reset(options: { afterMs?: number; afterEnd?: boolean } = {}): Promise<number> {
    return (await this.#ask<{ at: number }>('reset', options)).at
  }

  async #ask<T>(what: string, given: object): Promise<T> {
    return (await this.#peer.ask(what, { conn: this.#conn, ...given })) as T
  }
}
