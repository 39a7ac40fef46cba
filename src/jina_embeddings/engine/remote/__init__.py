"""One engine for several processes: `EngineHost` in the process that has it, `RemoteEngine` in the others."""
