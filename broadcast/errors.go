package broadcast

import "time"

// retryAfter is the RetryAfter of a message.OverloadedError: a full outbox or
// mailbox has room again after moments, or stays full for long.
const retryAfter = time.Second
