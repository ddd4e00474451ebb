"""A conversation between a customer and the support team, over REST v2. Python 3.8 or newer, standard library only.

Start the server (npm start), then run: python3 examples/chat.py [url]
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

default = os.environ.get("DOWELL_CHAT_URL", "http://127.0.0.1:3000")
url = (sys.argv[1] if len(sys.argv) > 1 else default).rstrip("/")


def send(request, attempts=4):
    """Sends a request, again if its answer was lost. Every request here may be repeated."""
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        if attempts == 1 or (error.code < 500 and error.code not in (408, 429)):
            sys.exit(f"{error.code} {error.read().decode()}")
    except (OSError, http.client.HTTPException) as error:
        if attempts == 1:
            sys.exit(f"no answer from {url}: {error}")
    time.sleep(2 / attempts)
    return send(request, attempts - 1)


def post(path, body):
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    return send(urllib.request.Request(f"{url}/api/v2/{path}/", data, headers))


def get(path, query):
    return send(f"{url}/api/v2/{path}/?{urllib.parse.urlencode(query)}")


def write(room_id, side, author, text):
    return post("room-service", {
        "type": "create_message",
        "room_id": room_id,
        "message_data": text,
        "side": side,
        "auther": author,
        "message_type": "text",
        # With the same id a retry does not store the message twice.
        "client_message_id": str(uuid.uuid4()),
    })


def read_messages(room_id, limit):
    """Returns all messages of a room, oldest first. Reads from the newest page backwards."""
    messages, cursor = [], {}
    while True:
        query = {"type": "get_messages", "room_id": room_id, "limit": limit, **cursor}
        page = get("room-service", query)
        messages = page["response"] + messages
        if not page["paging"]["has_before"]:
            return messages
        cursor = {"before": page["paging"]["before"]}


# A new user, so that each run is a new conversation.
user_id = f"customer-{uuid.uuid4()}"
org_id, product = "DOWELL12345", "WIFIQRCODE"

# The customer creates the room, or gets the open one, and writes.
room_id = post("room-control", {
    "user_id": user_id,
    "org_id": org_id,
    "portfolio_name": "umair",
    "product_name": product,
})["inserted_id"]
write(room_id, False, user_id, "The QR code does not open our network.")

# The support team finds the room in its list and replies.
rooms = get("room-list", {"org_id": org_id, "product_name": product})["rooms"]
found = next(room for room in rooms if room["user_id"] == user_id)
write(found["_id"], True, "Amara", "Which phone do you use?")

write(room_id, False, user_id, "A Fairphone 5.")

# Two messages per page, to show paging; the maximum is 1,000.
for message in read_messages(room_id, limit=2):
    side = "support" if message["side"] else "customer"
    print(f"{message['seq']} {side}: {message['message_data']}")

# Close the room: it stays readable, but accepts no new messages.
post("room-service", {"type": "delete_room", "room_id": room_id, "is_active": False})
