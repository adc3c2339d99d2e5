import { Child } from './child.ts'

/** What the load generator is told: see `bench/load/main.go`. */
export interface Command {
  readonly do: 'throughput' | 'connections' | 'open' | 'close'
  /** `host:port` of the relay's listener. */
  readonly relay: string
  readonly socks: boolean
  readonly direction: 'up' | 'down'
  /** Connections at once. */
  readonly count: number
  /** Runs that long before the clock starts. */
  readonly warmMs: number
  readonly ms: number
  /** The relay, whose processor time is read at both ends of the time. */
  readonly pid: number
}

export interface Answer {
  readonly bytes: number
  readonly count: number
  readonly failed: number
  readonly seconds: number
  readonly cpuSeconds: number
  readonly why: string
}

/** The load generator and origin, in a process of its own. */
export class Load {
  readonly origin: string
  readonly #child: Child

  private constructor(child: Child, origin: string) {
    this.#child = child
    this.origin = origin
  }

  static async start(command: readonly string[]): Promise<Load> {
    const child = Child.start('load', command)
    const hello = JSON.parse(await child.line()) as { readonly origin: string }
    return new Load(child, hello.origin)
  }

  async run(command: Partial<Command> & Pick<Command, 'do' | 'relay'>): Promise<Answer> {
    const whole: Command = {
      socks: false,
      direction: 'down',
      count: 1,
      warmMs: 300,
      ms: 2_000,
      pid: 0,
      ...command,
    }
    this.#child.write(`${JSON.stringify(whole)}\n`)
    return JSON.parse(await this.#child.line()) as Answer
  }

  async stop(): Promise<void> {
    await this.#child.stop()
  }
}
