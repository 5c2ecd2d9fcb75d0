// Package relay keeps the pictures that go out because somebody away from the
// site has ordered them: which camera, now or in the past, whereto, for how long,
// and by whom. An order is a lease: it ends when its time is up unless it is renewed.
//
// All orders share one upload. Where it is full whole groups of pictures are left
// out, and counted; what is sent can always be decoded. See [Upload]. What goes out by
// the way takes what they leave, see [Relay.Spare].
//
// Where pictures may go is the machine owner's decision, see [Hosts].
package relay
