import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import net from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

/** How long a program may take to listen, to answer a line, or to end before it is killed. */
const startMs = 10_000
const answerMs = 60_000
const endMs = 3_000

/** A program of a measurement; on Linux all of them run on the same two processors. */
export class Child {
  readonly name: string
  readonly pid: number
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  readonly #ended: Promise<string>
  #errors = ''

  private constructor(name: string, child: ChildProcessWithoutNullStreams) {
    this.name = name
    this.#child = child
    this.pid = child.pid ?? 0
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-2_000)
    })
    child.stdin.on('error', () => undefined)
    this.#ended = new Promise(resolve => {
      child.once('error', error => resolve(error.message))
      child.once('exit', (code, signal) => resolve(`it ended with ${String(code ?? signal)}`))
    })
  }

  static start(name: string, command: readonly string[]): Child {
    const [file = '', ...args] = [...pinning, ...command]
    return new Child(name, spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] }))
  }

  /** Waits until it accepts connections on a port of 127.0.0.1. */
  async listens(port: number): Promise<void> {
    const untilMs = performance.now() + startMs
    let end: string | null = null
    void this.#ended.then(text => {
      end = text
    })
    while (!(await accepts(port))) {
      if (end !== null) throw new Error(`${this.name}: ${String(end)} ${this.#errors}`)
      if (performance.now() > untilMs) throw new Error(`${this.name} does not listen`)
      await sleep(20)
    }
  }

  write(text: string): void {
    this.#child.stdin.write(text)
  }

  /** The next line that it prints. */
  async line(): Promise<string> {
    const late = sleep(answerMs, 'it does not answer', { ref: false })
    const lost = Promise.race([this.#ended, late]).then(why => {
      throw new Error(`${this.name}: ${why} ${this.#errors}`)
    })
    const next = await Promise.race([this.#lines.next(), lost])
    if (next.done === true) throw new Error(`${this.name} has ended ${this.#errors}`)
    return next.value
  }

  /** Asks it to end, and kills it if it does not. */
  async stop(): Promise<void> {
    this.#child.stdin.end()
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), endMs)
    await this.#ended
    clearTimeout(timer)
  }
}

async function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = net.connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>(resolve => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  await new Promise<unknown>(resolve => server.close(resolve))
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  return address.port
}

/** Where `name` stands on PATH, or in the system's own folders; null: not on this machine. */
export function findProgram(name: string): string | null {
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`
  try {
    const env = { ...process.env, PATH: path }
    return execFileSync('/bin/sh', ['-c', `command -v -- ${name}`], {
      env,
      encoding: 'utf8',
    }).trim()
  } catch {
    return null
  }
}

/** The first two processors that we may use, for everything alike. */
const pinning: readonly string[] = ((): readonly string[] => {
  const file = process.platform === 'linux' ? findProgram('taskset') : null
  const allowed = allowedProcessors()
  return file === null || allowed.length < 2 ? [] : [file, '-c', allowed.slice(0, 2).join(',')]
})()

function allowedProcessors(): number[] {
  const list = statusField('self', 'Cpus_allowed_list') ?? ''
  return list.split(',').flatMap(part => {
    const [first = 0, last = first] = part.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, at) => first + at)
  })
}

function statusField(pid: string, name: string): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/status`, 'utf8')
    return new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? null
  } catch {
    return null
  }
}

/** Memory of a process that no file stands behind, in bytes; NaN where there is no /proc. */
export function anonymousBytes(pid: number): number {
  try {
    const text = readFileSync(`/proc/${String(pid)}/smaps_rollup`, 'utf8')
    return Number(/^Anonymous:\s*(\d+) kB$/m.exec(text)?.[1]) * 1_024
  } catch {
    return Number.NaN
  }
}

/** Open descriptors of a process; NaN where there is no /proc. */
export function descriptorCount(pid: number): number {
  try {
    return readdirSync(`/proc/${String(pid)}/fd`).length
  } catch {
    return Number.NaN
  }
}
