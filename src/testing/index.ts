export { damaged, splitsAlike, survivesNoise } from './codec.ts'
export { memoryPair } from './memory-pair.ts'
export { Random } from './random.ts'
export {
  patternByte,
  patternBytes,
  type PeerStep,
  type PeerView,
  ScriptedLink,
  type ScriptedOptions,
} from './scripted-link.ts'
export { FakeClock, settle, simError, Simulation } from './simulation.ts'
