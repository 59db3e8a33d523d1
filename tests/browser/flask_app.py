"""A Flask app as people write them: it knows nothing of prefixes. Login by form, redirect, session cookie."""
import sys

from flask import Flask, redirect, request, session

app = Flask(__name__)
app.secret_key = "only for the test"


@app.get("/")
def index():
    if "user" not in session:
        return redirect("/login")
    return f"<h1 id=hello>Hello {session['user']}</h1><a id=out href=logout>out</a>"


@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "POST":
        session["user"] = request.form["user"]
        return redirect("/")
    return "<form method=post><input name=user id=user><button id=go>in</button></form>"


@app.get("/logout")
def logout():
    session.clear()
    return redirect("/login")


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), threaded=True)
