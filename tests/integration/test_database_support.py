from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from marketdata.models import BrokerAccount
from tests.support.processes import manage


@pytest.mark.django_db(transaction=True)
def test_a_process_sees_what_the_test_wrote(account: BrokerAccount, user: User) -> None:
    script = "from marketdata.models import BrokerAccount as B; print('seen', B.objects.get().user.username)"
    with manage("shell", "-c", script) as process:
        assert process.wait_for("seen") == f"seen {user.username}"
        assert process.wait() == 0
