package config

import "time"

// Default returns the default of every setting.
func Default() Config {
	return Config{
		Listen:   []string{":8080"},
		Path:     "/ws",
		Upgrade:  defaultUpgrade(),
		Proxy:    Proxy{Header: "x-forwarded-for"},
		Session:  defaultSession(),
		Backlog:  Backlog{Frames: 256, Bytes: 1 * MiB, Timeout: 30 * time.Second, Policy: "disconnect"},
		Fanout:   Fanout{Chunk: 300 * time.Microsecond, IOURing: "auto", Mailbox: 4096},
		API:      defaultAPI(),
		NATS:     defaultNATS(),
		Shutdown: defaultShutdown(),
		Log:      Log{Level: "info", Format: "auto", SampleFirst: 20, SampleEvery: 1000, Buffer: 1 * MiB},
	}
}

func defaultUpgrade() Upgrade {
	return Upgrade{
		MaxHead:    8 * KiB,
		Timeout:    10 * time.Second,
		MaxPending: 16384,
		MaxWaiting: 16384,
		Health:     true,
		RetryAfter: 5 * time.Second,
	}
}

func defaultSession() Session {
	return Session{
		MaxMessage:     64 * KiB,
		MaxFragments:   1024,
		ClientMessages: "drop",
		MaxTopics:      128,
		MaxPerUser:     64,
		MessageTimeout: 30 * time.Second,
		MessageRate:    200,
		MessageBurst:   1000,
		ByteRate:       512 * KiB,
		ByteBurst:      4 * MiB,
		CommandRate:    50,
		CommandBurst:   500,
		RateGrace:      10 * time.Second,
		PingInterval:   25 * time.Second,
		PongTimeout:    10 * time.Second,
		CloseTimeout:   5 * time.Second,
	}
}

func defaultAPI() API {
	return API{
		Listen:           "127.0.0.1:8081",
		MaxPayload:       64 * KiB,
		MaxBatchLines:    10000,
		MaxRequests:      2048,
		MaxBodies:        1024,
		BodyBytes:        64 * MiB,
		MaxConnections:   8192,
		MaxHead:          16 * KiB,
		HeadTimeout:      5 * time.Second,
		ReadTimeout:      30 * time.Second,
		WriteTimeout:     30 * time.Second,
		IdleTimeout:      2 * time.Minute,
		PushWait:         time.Second,
		BatchIdleTimeout: time.Minute,
	}
}

func defaultNATS() NATS {
	return NATS{
		ClusterName:    "belfry",
		OutboxMessages: 16384,
		Linger:         5 * time.Second,
		Beacon:         time.Second,
		OverloadWait:   200 * time.Millisecond,
		WildcardAbove:  256,
		MaxLingering:   4096,
	}
}

func defaultShutdown() Shutdown {
	return Shutdown{
		Delay:           5 * time.Second,
		Grace:           20 * time.Second,
		Pace:            20000,
		ReconnectAfter:  time.Second,
		ReconnectJitter: 10 * time.Second,
	}
}
