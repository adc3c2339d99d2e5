/** Sluice as a program: `sluice.ts CONFIG-FILE`. Ends politely on SIGTERM, so that a profile is written. */
import { loadConfig, start } from '../../src/index.ts'

const { config } = await loadConfig(process.argv[2] ?? '')
const engine = await start(config)
process.once('SIGTERM', () => {
  void engine.abort().then(() => process.exit())
})
