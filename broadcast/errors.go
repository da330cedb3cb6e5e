package broadcast

import "time"

// retryAfter is the advice in a message.OverloadedError: outboxes and mailboxes
// empty within moments or not at all.
const retryAfter = time.Second
