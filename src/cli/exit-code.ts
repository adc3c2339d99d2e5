export const ExitCode = {
  right: 0,
  /** It failed while it ran. */
  failed: 1,
  usage: 2,
  /** The configuration is wrong (EX_CONFIG of sysexits.h). */
  config: 78,
} as const
