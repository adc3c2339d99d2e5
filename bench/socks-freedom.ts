import type { Bench } from './harness/bench.ts'
import { askRelays } from './harness/relay-bench.ts'

/** What does a SOCKS5 proxy cost, against programs that are one too? */
export const socksFreedom: Bench = {
  name: 'socks-freedom',
  run: settings =>
    askRelays(
      'socks-freedom',
      'socks',
      [
        { kind: 'connections', count: 64 },
        { kind: 'throughput', direction: 'down', count: 1 },
        { kind: 'throughput', direction: 'up', count: 1 },
        { kind: 'throughput', direction: 'down', count: 50 },
        { kind: 'idle', count: 2_000 },
      ],
      settings,
    ),
}
