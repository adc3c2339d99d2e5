#!/usr/bin/env node
const major = Number(process.versions.node.split('.')[0])
if (major < 26) {
  process.stderr.write(
    `Sluice needs Node 26 or newer; this is Node ${process.versions.node}. In its own checkout "npm start" brings the right one.\n`,
  )
  process.exitCode = 2
} else {
  const { run } = await import('./program.ts')
  process.exitCode = await run(process.argv.slice(2))
}
