import { Command, CommanderError, Option } from 'commander'
import {
  diagnosticsJson,
  diagnosticsOf,
  formatDiagnostics,
  loadConfig,
  type LoadedConfig,
  parseConfig,
} from '../index.ts'
import { demo } from './demo.ts'
import { ExitCode } from './exit-code.ts'
import { explain, serve, version } from './serve.ts'
import { standardTerminal } from './terminal.ts'

/** What `sluice` alone runs. */
const quickStart = `{
  "inbounds": [{ "tag": "mixed", "protocol": "mixed", "listen": "127.0.0.1", "port": 1080, "settings": { "udp": true } }],
  "outbounds": [{ "tag": "direct", "protocol": "freedom" }]
}`

/** Runs one command line, without the program's name; gives the exit code. */
export async function run(args: readonly string[]): Promise<number> {
  let code: number = ExitCode.right
  const program = new Command('sluice')
    .description('A proxy platform whose connections always have one owner.')
    .version(await version())
    .exitOverride()
    .showHelpAfterError('Try "sluice --help".')
    .action(async () => {
      const loaded = parseConfig('built-in configuration', quickStart)
      code = await serve(loaded, 'a mixed proxy for this machine', standardTerminal())
    })
  program
    .command('run')
    .description('Serve a configuration until a signal comes.')
    .requiredOption(
      '-c, --config <file>',
      'configuration with the names of Xray (JSON with comments)',
    )
    .action(async (options: { readonly config: string }) => {
      code = await withConfig(options.config, false, loaded =>
        serve(loaded, options.config, standardTerminal()),
      )
    })
  program
    .command('check')
    .description('Say whether a configuration is right, with every mistake and its place.')
    .argument('[file]', 'the configuration')
    .option('-c, --config <file>', 'the same, as "run" has it')
    .option('--json', 'mistakes as JSON, for programs')
    .action(
      async (
        file: string | undefined,
        options: { readonly config?: string; readonly json?: boolean },
      ) => {
        const path = file ?? options.config
        if (path === undefined) {
          process.stderr.write('error: name a configuration: sluice check FILE\n')
          code = ExitCode.usage
          return
        }
        const isJson = options.json === true
        code = await withConfig(path, isJson, loaded =>
          Promise.resolve(tellRight(path, loaded, isJson)),
        )
      },
    )
  program
    .command('demo')
    .description('Run on loopback with a line to try.')
    .addOption(new Option('--once', 'send 16 MB through itself, compare, and exit'))
    .action(async (options: { readonly once?: boolean }) => {
      code = await demo(options.once === true, standardTerminal())
    })
  try {
    await program.parseAsync([...args], { from: 'user' })
  } catch (thrown) {
    if (thrown instanceof CommanderError)
      return thrown.exitCode === 0 ? ExitCode.right : ExitCode.usage
    process.stderr.write(`${explain(thrown)}\n`)
    return ExitCode.failed
  }
  return code
}

/** Loads a configuration and goes on with it, or tells every mistake in it. */
async function withConfig(
  path: string,
  isJson: boolean,
  next: (loaded: LoadedConfig) => Promise<number>,
): Promise<number> {
  let loaded: LoadedConfig
  try {
    loaded = await loadConfig(path)
  } catch (thrown) {
    const diagnostics = diagnosticsOf(thrown)
    if (diagnostics.length === 0) throw thrown
    if (isJson) process.stdout.write(`${diagnosticsJson(diagnostics)}\n`)
    else process.stderr.write(`${formatDiagnostics(diagnostics)}\n`)
    return ExitCode.config
  }
  return next(loaded)
}

function tellRight(path: string, loaded: LoadedConfig, isJson: boolean): number {
  const { config, warnings } = loaded
  if (isJson) process.stdout.write(`${diagnosticsJson(warnings)}\n`)
  else {
    if (warnings.length > 0) process.stderr.write(`${formatDiagnostics(warnings)}\n`)
    const counts = `${String(config.inbounds.length)} inbounds, ${String(config.outbounds.length)} outbounds`
    process.stdout.write(`${path}: right (${counts})\n`)
  }
  return ExitCode.right
}
