"""Words of the Portfolio tab and its ticket."""

from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {
    "portfolio.local": ("本地交易所：{account}", "local exchange: {account}"),
    "portfolio.ncku": ("成大模擬交易：{account}", "university simulator: {account}"),
    "portfolio.none": ("還沒有帳戶：按 n 開一個。", "There is no account yet: press n to open one."),
    "portfolio.equity": ("總值 {twd}", "equity {twd}"),
    "portfolio.free": ("可用現金 {twd}", "free cash {twd}"),
    "portfolio.sum_today": ("當日 {twd}", "day {twd}"),
    "portfolio.sum_gain": ("未實現損益 {twd}", "open gain {twd}"),
    "portfolio.sum_realised": ("已實現 {twd}（當日 {today}）", "realised {twd} (day {today})"),
    "portfolio.realised_unknown": ("已實現損益不明", "realised gain unknown"),
    "portfolio.drawdown": ("距高點 -{share}", "{share} below its peak"),
    "portfolio.estimated": ("（依送出的委託推算）", "(reckoned from the orders sent)"),
    "portfolio.shares": ("股數", "Shares"),
    "portfolio.worth": ("市值", "Worth"),
    "portfolio.gain": ("損益", "Gain"),
    "portfolio.today": ("當日", "Day"),
    "portfolio.realised": ("已實現", "Realised"),
    "portfolio.curve": ("淨值", "Equity"),
    "portfolio.curve_is": ("淨值 {gain}", "equity {gain}"),
    "portfolio.curve_hold": ("買進持有 {count} 檔 {gain}", "buying and holding {count} stocks {gain}"),
    "portfolio.curve_hold.one": ("買進持有 {count} 檔 {gain}", "buying and holding {count} stock {gain}"),
    "portfolio.past.loading": ("計算中…", "reckoning…"),
    "portfolio.past.at_server": (
        "這個伺服器不提供過去的紀錄，因此沒有淨值曲線與已實現損益。",
        "This server tells nothing of the past: no equity curve and no realised gain.",
    ),
    "portfolio.past.unbegun": (
        "還沒有撮合過交易日：第一天之後才有淨值曲線。",
        "No session was matched yet: the equity curve begins with the first.",
    ),
    "portfolio.session": ("交易日", "Session"),
    "portfolio.side": ("買賣", "Side"),
    "portfolio.price": ("價格", "Price"),
    "portfolio.state": ("狀態", "State"),
    "portfolio.charges": ("費用稅", "Charges"),
    "portfolio.no_holdings": ("沒有持股。", "Nothing is held."),
    "portfolio.no_orders": ("沒有委託：按 b 買進。", "No orders: press b to buy."),
    "portfolio.cancel": ("取消委託 {id}？", "Take back order {id}?"),
    "account.title": ("開戶（本地模擬交易所）", "New account (simulated exchange)"),
    "account.field.name": ("帳戶名稱", "name"),
    "account.field.cash": ("起始現金（元）", "starting cash (TWD)"),
    "account.field.discount": ("手續費比例（0.6 為六折）", "part of the commission"),
    "account.field.password": ("連線密碼（可不填）", "password (may be empty)"),
    "account.good": (
        "將開戶 {name}：現金 {twd} 元，手續費乘以 {part}。密碼只給 stockllm exchange serve 的連線用。",
        "Would open {name} with {twd} TWD, commission times {part}. The password is for clients of"
        " stockllm exchange serve alone.",
    ),
    "account.keys": ("↑↓ 換欄　Ctrl+S 開戶　Esc 離開", "up and down: fields   Ctrl+S: open   Esc: leave"),
    "order.side.buy": ("買", "buy"),
    "order.side.sell": ("賣", "sell"),
    "order.state.open": ("委託中", "open"),
    "order.state.filled": ("成交", "filled"),
    "order.state.expired": ("未成交", "expired"),
    "order.state.cancelled": ("已取消", "cancelled"),
    "order.state.refused": ("被拒", "refused"),
    "order.state.unknown": ("不明", "unknown"),
    "ticket.title": ("下單", "Order"),
    "ticket.field.side": ("買或賣", "side (buy or sell)"),
    "ticket.field.company": ("股票", "company"),
    "ticket.field.shares": ("股數（一張 1000）", "shares (a lot is 1000)"),
    "ticket.field.price": ("價格", "price"),
    "ticket.keys": ("↑↓ 換欄　Ctrl+S 送出　Esc 離開", "up and down: fields   Ctrl+S: send   Esc: leave"),
    "ticket.really": ("再按一次 Ctrl+S 就送出。", "Press Ctrl+S once more to send it."),
    "ticket.buy": (
        "買進 {name} {shares} 股 @ {price}，{session}：金額 {value} + 手續費 {commission} = {total}",
        "buy {shares} of {name} at {price} on {session}: {value} + commission {commission} = {total}",
    ),
    "ticket.sell": (
        "賣出 {name} {shares} 股 @ {price}，{session}："
        "金額 {value} - 手續費 {commission} - 稅 {tax} = {total}",
        "sell {shares} of {name} at {price} on {session}:"
        " {value} - commission {commission} - tax {tax} = {total}",
    ),
    "key.buy": ("買進", "Buy"),
    "key.sell": ("賣出", "Sell"),
    "key.cancel_order": ("取消", "Cancel"),
    "key.account": ("帳戶", "Account"),
    "key.new_account": ("開戶", "New"),
    "help.buy": ("填寫買進委託", "fill in an order to buy"),
    "help.sell": ("填寫賣出委託（游標所在的持股）", "fill in an order to sell what is under the cursor"),
    "help.cancel_order": ("取消游標所在的委託", "take back the open order under the cursor"),
    "help.account": ("下一個帳戶", "the next account"),
    "help.new_account": ("在本地交易所開一個帳戶", "open an account at the local exchange"),
    "help.portfolio": (
        "第一行永遠顯示是哪個帳戶。委託要按兩次 Ctrl+S 才會送出。損益已扣買進的手續費，"
        "未扣賣出的費用與稅（伺服器的帳戶兩者都未扣）；已實現則已扣買賣兩邊的費用與稅，並計入現金股利。"
        "本地帳戶的兩者之和，就是總值減起始現金。買進持有是開戶當晚以同樣的現金平均買進"
        "所有公司，費用相同。",
        "The first line always names the account. An order is sent only on the second Ctrl+S. A gain is"
        " after the commission of buying and before the charges of selling (at a server, before both); what"
        " is realised is after those of both sides, with dividends in money. Of a local account the two add"
        " up to equity less the starting cash. Buy and hold is an equal part of the same cash in every"
        " company on the account's first evening, at the same charges.",
    ),
    "toast.order": ("委託 {id}：{state}", "order {id}: {state}"),
    "toast.order_failed": ("委託沒有成功", "The order did not go through"),
    "toast.no_account": ("還沒有讀到帳戶。", "The account was not read yet."),
    "toast.account_opened": ("已開戶：{name}", "Opened the account {name}."),
    "toast.no_open_order": ("游標所在的委託不能取消。", "The order under the cursor cannot be taken back."),
    "toast.one_account": ("沒有別的帳戶：按 n 開一個。", "There is no other account: press n to open one."),
}
