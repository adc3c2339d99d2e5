import type { Terminal } from '../index.ts'

/** The standard output as a place for log lines. A reader that went away ends nothing. */
export function standardTerminal(): Terminal {
  const isForPeople = process.stdout.isTTY
  process.stdout.on('error', ignoreClosedPipe)
  return {
    write: text => {
      process.stdout.write(text)
    },
    isForPeople,
    hasColour: isForPeople && (process.env['NO_COLOR'] ?? '') === '',
  }
}

function ignoreClosedPipe(): void {
  return undefined
}
