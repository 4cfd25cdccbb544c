"""The HTTP control endpoint.

``server``      ``serve_http``: the way in
``app``         the route table, and the order in which a request is checked and answered
``handlers_*``  one small file for each group of routes
``schemas``     what clients may send; ``rendering`` what they get
``problems``    what each error means over HTTP, and nowhere else
``auth``        who may ask: token, Host, Origin
``reading``     query and body, bounded in size and time
``routing``     routes and what a handler is given
``verbs``       the only things of the service a handler may touch
``connection`` ``hangup`` ``listening``  sockets, and how waits end
"""
