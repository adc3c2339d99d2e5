import type { Bench } from './harness/bench.ts'
import { askRelays } from './harness/relay-bench.ts'

/** What does forwarding a TCP port cost, against programs that can do it too? */
export const plainForward: Bench = {
  name: 'plain-forward',
  run: settings =>
    askRelays(
      'plain-forward',
      'forward',
      [
        { kind: 'throughput', direction: 'down', count: 1 },
        { kind: 'throughput', direction: 'up', count: 1 },
        { kind: 'throughput', direction: 'down', count: 50 },
        { kind: 'throughput', direction: 'up', count: 50 },
        { kind: 'connections', count: 64 },
        { kind: 'idle', count: 2_000 },
      ],
      settings,
    ),
}
