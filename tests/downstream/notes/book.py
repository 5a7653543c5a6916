"""What the application does with its tables."""

from notes.models import Note, NoteTag, NoteVector, Tag, db


def write(account, title, *, tags=(), **columns):
    """Write a note and its tags, both or neither."""
    with db.atomic():
        note = Note.create(account=account, title=title, **columns)
        for name in tags:
            tag, _ = Tag.get_or_create(name=name)
            NoteTag.create(note=note, tag=tag)
    return note


def tagged(account, name):
    """The titles of an account's notes with a tag, in order."""
    found = (
        Note.select(Note.title)
        .join(NoteTag)
        .join(Tag)
        .where(Note.account == account, Tag.name == name)
        .order_by(Note.title)
    )
    return [note.title for note in found]


def star(note_id):
    """One star more, up to five, for a note that others may be starring too."""
    with db.connection_context(), db.atomic():
        note = Note.select().where(Note.id == note_id).for_update().get()
        note.stars = min(5, note.stars + 1)
        note.save(only=[Note.stars])


def close_account(account):
    """Delete an account and what it wrote; tags that nobody uses any more go too."""
    with db.atomic():
        account.delete_instance()
        used = NoteTag.select(NoteTag.tag)
        Tag.delete().where(Tag.id.not_in(used)).execute()


def nearest(place):
    """The note that lies nearest to a place."""
    return Note.select().join(NoteVector).order_by(NoteVector.place.l2_distance(place)).first()
