"""Adds the tax to each price that is asked for, keeps the newest of each item, and tells the page."""

from kirby import State, Topic

TAX = 0.21


def main() -> None:
    with (
        Topic("prices.asked", group="price-board", create=True) as asked,
        Topic("prices.told", create=True) as told,
        State("prices", create=True) as prices,
    ):
        for message in asked:
            gross = round(message.value["net"] * (1 + TAX), 2)
            version = prices.set(message.value["item"], {"gross": gross})
            told.send({"item": message.value["item"], "gross": gross, "version": version}, key=message.key)
            asked.commit()


if __name__ == "__main__":
    main()
