"""What a hospital needs back: services, their objectives and order, the applications that run on them, isolated places.

Decisions are pure (`catalogue`, `order`, `forecast`, `judge`); effects are `isolation` (a cell of namespaces) and
`applications` (one file per application, which starts the real thing on restored data and asks it questions).
"""
