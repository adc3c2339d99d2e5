import { memoryPair } from '../../src/testing/index.ts'
import { linkCompliance, type Pair } from './links.ts'
import { shippedLinks } from './protocols.ts'
import { ToyLayer } from './toy-layer.ts'
import { ToyMux } from './toy-mux.ts'

linkCompliance({
  name: 'the pair in memory',
  ends: 'half',
  resets: 'plain',
  underWayMax: 100_000,
  make: root => {
    const [near, far] = memoryPair(root)
    return Promise.resolve({ near, far })
  },
})

for (const candidate of shippedLinks) linkCompliance(candidate)

linkCompliance({
  name: 'a toy layer that can be left',
  ends: 'half',
  resets: 'plain',
  underWayMax: 200_000,
  make: root => {
    const [near, far] = memoryPair(root)
    return Promise.resolve({ near: new ToyLayer(near).link, far: new ToyLayer(far).link })
  },
})

linkCompliance({
  name: 'a stream of a toy mux, whose end ends both directions',
  ends: 'both',
  resets: 'coded',
  underWayMax: 60_000,
  make: root => {
    const [a, b] = memoryPair(root)
    const near = new ToyMux(a)
    const far = new ToyMux(b)
    const pair: Pair = {
      near: near.open(1),
      far: far.open(1),
      tidy: async () => {
        await near.end()
        await far.end()
      },
    }
    return Promise.resolve(pair)
  },
})
