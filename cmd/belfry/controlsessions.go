package main

import (
	"context"

	"belfry/broadcast"
	"belfry/push"
	"belfry/session"
)

// onHolders has the nodes of a selection run an order: that of the session, or those
// that may hold the user.
func (s sessionControl) onHolders(ctx context.Context, kind string, sel push.Selection, o *order, here orderFunc) (push.Outcome, error) {
	o.SID, o.UID = sel.SID, sel.UID
	if sel.SID != "" {
		o.UID = ""
		return s.one(ctx, kind, o, here)
	}
	return s.each(ctx, o, here, func(body []byte) []broadcast.Answer { return s.presence.AskHolders(ctx, o.UID, kind, body) })
}

// End implements push.Sessions.
func (s sessionControl) End(ctx context.Context, sel push.Selection, code uint16, reason string) (push.Outcome, error) {
	return s.onHolders(ctx, kindEnd, sel, &order{Code: code, Reason: reason}, s.end)
}

// Join implements push.Sessions.
func (s sessionControl) Join(ctx context.Context, sel push.Selection, topic string) (push.Outcome, error) {
	return s.onHolders(ctx, kindJoin, sel, &order{Topic: topic}, s.join)
}

// Leave implements push.Sessions.
func (s sessionControl) Leave(ctx context.Context, sel push.Selection, topic string) (push.Outcome, error) {
	return s.onHolders(ctx, kindLeave, sel, &order{Topic: topic}, s.leave)
}

// selected returns the sessions of an order.
func (o *order) selected() session.Selection { return session.Selection{SID: o.SID, UID: o.UID} }

// end ends sessions of this node.
func (s sessionControl) end(ctx context.Context, o *order) (d done, err error) {
	d.Sessions, err = s.sessions.End(ctx, o.selected(), o.Code, o.Reason)
	return d, err
}

// join subscribes sessions of this node to a topic.
func (s sessionControl) join(ctx context.Context, o *order) (d done, err error) {
	d.Sessions, d.Full, err = s.sessions.Join(ctx, o.selected(), o.Topic)
	return d, err
}

// leave ends subscriptions of sessions of this node.
func (s sessionControl) leave(ctx context.Context, o *order) (d done, err error) {
	d.Sessions, err = s.sessions.Leave(ctx, o.selected(), o.Topic)
	return d, err
}
