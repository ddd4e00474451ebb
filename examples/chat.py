"""A customer asks, the support team answers, over REST v2. Python 3.8 or newer, standard library only.

Start the server (npm start), then: python3 examples/chat.py [url]
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid

default = os.environ.get("DOWELL_CHAT_URL", "http://127.0.0.1:3000")
url = (sys.argv[1] if len(sys.argv) > 1 else default).rstrip("/")


def send(request):
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.code} {error.read().decode()}")
    except OSError as error:
        sys.exit(f"no answer from {url}: {error}")


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
        # Sent again with the same id, for example after a lost answer, the message is stored once.
        "client_message_id": str(uuid.uuid4()),
    })


def messages_of(room_id, limit):
    """All messages of a room, read backwards a page at a time, oldest first."""
    messages, place = [], {}
    while True:
        query = {"type": "get_messages", "room_id": room_id, "limit": limit, **place}
        answer = get("room-service", query)
        messages = answer["response"] + messages
        if not answer["paging"]["has_before"]:
            return messages
        place = {"before": answer["paging"]["before"]}


# Somebody new in each run, so that each run is a new conversation.
user_id = f"customer-{uuid.uuid4()}"
org_id, product = "DOWELL12345", "WIFIQRCODE"

# The customer's page: open the room, or find the one that is open, and write.
room_id = post("room-control", {
    "user_id": user_id,
    "org_id": org_id,
    "portfolio_name": "umair",
    "product_name": product,
})["inserted_id"]
write(room_id, False, user_id, "The QR code does not open our network.")

# The support team's page: the newest rooms, and what stands in one of them.
rooms = get("room-list", {"org_id": org_id, "product_name": product})["rooms"]
waiting = next(room for room in rooms if room["user_id"] == user_id)
write(waiting["_id"], True, "Amara", "Which phone do you use?")

write(room_id, False, user_id, "A Fairphone 5.")

# A page of two, only to show how paging goes; 1,000 are the most.
for message in messages_of(room_id, limit=2):
    side = "support" if message["side"] else "customer"
    print(f"{message['seq']} {side}: {message['message_data']}")

# Done: the room takes no new messages, and stays readable.
post("room-service", {"type": "delete_room", "room_id": room_id, "is_active": False})
