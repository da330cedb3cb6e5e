package broadcast

import "time"

// retryAfter is the advice in an session.OverloadedError: outboxes and mailboxes
// empty within moments or not at all.
const retryAfter = time.Second
