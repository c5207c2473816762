//go:build !wasip1

package process

// Outside of a capsule there is no host to call.

func rawSpawn(_, _ uint32)                                      {}
func rawSpawnBackground(_, _ uint32)                            {}
func rawSpawnPersistent(_, _ uint32)                            {}
func rawReadLogs(_, _ uint32)                                   {}
func rawHandleWrite(uint32, string, uint32)                     {}
func rawHandleCloseStdin(_, _ uint32)                           {}
func rawHandleSignal(_, _, _ uint32)                            {}
func rawKill(_, _ uint32)                                       {}
func rawHandleWait(_, _ uint32, _ uint64, _ uint32)             {}
func rawWaitWithOutput(_, _ uint32, _ uint64, _ uint32)         {}
func rawOSPid(_, _ uint32)                                      {}
func rawSubscribeExit(uint32) uint32                            { return 0 }
func rawSubscribeLogs(uint32) uint32                            { return 0 }
func rawDrop(uint32)                                            {}
func rawAttach(string, uint32)                                  {}
func rawList(uint32, string, uint32)                            {}
func rawStatus(string, uint32)                                  {}
func rawStatusMany(_, _, _ uint32)                              {}
func rawReadLogsByID(string, uint32)                            {}
func rawReadSince(_ string, _, _ uint32, _ string, _, _ uint32) {}
func rawWriteStdin(_, _ string, _ uint32)                       {}
func rawCloseStdin(string, uint32)                              {}
func rawSignal(string, uint32, uint32)                          {}
func rawWait(string, uint64, uint32)                            {}
func rawStop(string, uint32, uint64, uint32)                    {}
func rawRelease(string, uint32)                                 {}
func rawWatch(string, uint32, string, uint32)                   {}
func rawUnwatch(string, uint32)                                 {}
