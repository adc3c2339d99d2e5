import { readFile } from 'node:fs/promises'
import {
  type Engine,
  type EventSink,
  formatEndpoint,
  formatDiagnostics,
  type LoadedConfig,
  openLog,
  start,
  type SluiceConfig,
  type Terminal,
} from '../index.ts'
import { ExitCode } from './exit-code.ts'

/** How long connections may go on after the first signal. */
const drainMs = 10_000

export async function version(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  const found: unknown = Reflect.get(Object(JSON.parse(text)), 'version')
  return typeof found === 'string' ? found : 'unknown'
}

/** Serves a configuration until a signal comes; gives the exit code. */
export async function serve(
  loaded: LoadedConfig,
  from: string,
  terminal: Terminal,
): Promise<number> {
  const { config, warnings } = loaded
  if (warnings.length > 0) process.stderr.write(`${formatDiagnostics(warnings)}\n`)
  const log = openLog(config.log, terminal)
  try {
    const engine = await startOrExplain(config, log.sink)
    if (engine === null) return ExitCode.failed
    if (terminal.isForPeople) terminal.write(await startBlock(engine, config, from))
    return (await stoppedBySignal(engine)) === 0 ? ExitCode.right : ExitCode.failed
  } finally {
    log.close()
  }
}

async function startOrExplain(config: SluiceConfig, sink: EventSink): Promise<Engine | null> {
  try {
    return await start(config, { onEvent: sink })
  } catch (thrown) {
    process.stderr.write(`${explain(thrown)}\n`)
    return null
  }
}

/** One plain line for a failure at start. */
export function explain(thrown: unknown): string {
  if (!(thrown instanceof Error)) return `sluice: ${String(thrown)}`
  return `sluice: ${thrown.message}`
}

async function startBlock(engine: Engine, config: SluiceConfig, from: string): Promise<string> {
  const inbounds = config.inbounds.map((inbound, at) => {
    const local = engine.inbounds[at]?.local
    const where = local === undefined ? '' : formatEndpoint(local)
    return `  inbound   ${inbound.tag.padEnd(14)} ${inbound.type.padEnd(14)} ${where}`
  })
  const outbounds = config.outbounds.map(
    outbound => `  outbound  ${outbound.tag.padEnd(14)} ${outbound.type}`,
  )
  const tryIt = config.inbounds.flatMap((inbound, at) => {
    const local = engine.inbounds[at]?.local
    if (local === undefined || local.port === 0) return []
    const scheme = schemes[inbound.type]
    if (scheme === undefined) return []
    return [`Try it:  curl -x ${scheme}://${formatEndpoint(local)} https://example.com`]
  })
  return [
    `sluice ${await version()} (node ${process.versions.node}), ${from}`,
    ...inbounds,
    ...outbounds,
    ...tryIt.slice(0, 1),
    'Ctrl-C ends it; again ends it at once.',
    '',
  ].join('\n')
}

const schemes: Readonly<Record<string, string>> = {
  mixed: 'socks5h',
  socks: 'socks5h',
  http: 'http',
}

/** The first signal drains, a second one resets what is left. Gives what the ledger still holds. */
export function stoppedBySignal(engine: Engine): Promise<number> {
  return new Promise((resolve, reject) => {
    let count = 0
    const onSignal = (): void => {
      count += 1
      const over = count === 1 ? engine.stop(drainMs) : engine.abort()
      over
        .finally(() => {
          process.off('SIGINT', onSignal)
          process.off('SIGTERM', onSignal)
        })
        .then(resolve, reject)
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
  })
}
