package whep

import "time"

// JoinWithin sets how long a viewer may take to connect, before Run.
func (s *Server) JoinWithin(d time.Duration) { s.join = d }
